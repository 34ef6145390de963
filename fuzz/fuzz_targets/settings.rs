//! What an operator's files say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use websocket_service::config::{Config, Sources};

fuzz_target!(|data: (&str, &str, &str)| {
    let (dotenv, yaml, value) = data;
    let sources = Sources::default()
        .with_dotenv(dotenv)
        .with_yaml("config.yaml", yaml)
        .with_environment("WEBSOCKET_SERVICE_ALLOWED_ORIGINS", value);
    if let Err(faults) = Config::load(&sources) {
        assert!(faults.iter().next().is_some());
        let _ = faults.to_string();
    }
});
