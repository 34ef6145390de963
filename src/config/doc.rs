//! `docs/settings.md` and `.env.example`, generated from the table.

use std::fmt::Write;

use super::layers::kebab;
use super::setting::{Form, Group, Initial, PREFIX, Setting};
use super::table::SETTINGS;

const INTRODUCTION: &str = "\
<!-- Generated from src/config/table.rs by `UPDATE_DOCS=1 cargo test --lib`. Do not edit. -->

# Settings

Every setting has one name in four spellings: a variable of the environment or of a `.env` file, a key in a YAML file,
and a flag.

## Where values come from

1. flags (`--max-connections 5000`; a secret there is seen by everybody who can list processes),
2. the environment (`WEBSOCKET_SERVICE_MAX_CONNECTIONS=5000`),
3. `.env` in the working directory,
4. the YAML file of `--config FILE` (`max_connections: 5000`),
5. the default.

The first that has a value wins. An empty text means \"no value\" for a setting that may be unset, and hides the values
below it; `null` in YAML is as if the key were not there. `websocket-service config` shows every setting in force with
its source; `websocket-service config --check` only says whether they are sound.

Faults are all reported at once, before any port is bound, and the exit code is 64. A variable with the prefix or a key
that no setting has is a fault too, and the nearest name is given.

In `.env`, put a value that holds spaces, `$`, `#`, quotes or backslashes in single quotes: without them `$NAME` is
replaced by that variable. Variables without the prefix are ignored. In YAML, put texts that look like numbers in
quotes.

## Secrets

A setting marked † may be given as a file instead, with `_FILE` at the end of its name: the path of a mounted Secret,
for example. The file is reread when it changes. One line break at its end is not part of the secret. The value and its
file in the same place (both in the environment, say) is a fault; from different places the higher one wins. No secret is
ever logged or shown.

## Kubernetes

For a Service called `websocket-service`, or any name that begins so, Kubernetes puts variables such as
`WEBSOCKET_SERVICE_SERVICE_HOST`, `WEBSOCKET_SERVICE_PORT=tcp://10.0.0.1:8004` and
`WEBSOCKET_SERVICE_PORT_8004_TCP_ADDR` into every pod of its namespace. Variables of that form, in name and value, are no
settings and are passed over, in the environment only. `enableServiceLinks: false` in the pod keeps them out altogether.
";

fn settings_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut group = None;
    for setting in SETTINGS {
        if group != Some(setting.group) {
            group = Some(setting.group);
            heading(&mut page, setting.group);
        }
        row(&mut page, setting);
    }
    page
}

fn heading(page: &mut String, group: Group) {
    let _ = write!(
        page,
        "\n## {}\n\n| environment, YAML key, flag | default | value | meaning |\n| --- | --- | --- | --- |\n",
        group.title()
    );
}

fn row(page: &mut String, setting: &Setting) {
    let mark = if setting.is_secret() { " †" } else { "" };
    let default = match setting.initial {
        Initial::Default(text) => format!("`{text}`"),
        Initial::Unset(_) => "unset".to_owned(),
    };
    let name = setting.name;
    let (key, flag) = (name.to_ascii_lowercase(), kebab(name));
    let (values, doc) = (setting.values(), setting.doc);
    let _ =
        writeln!(page, "| `{PREFIX}{name}`{mark}<br>`{key}`<br>`--{flag}` | {default} | {values} | {doc} |");
}

fn env_example() -> String {
    let mut file = "# Generated from src/config/table.rs by `UPDATE_DOCS=1 cargo test --lib`. Do not edit; copy to .env.\n\
                    # Values are the defaults, or examples where there is none. docs/settings.md tells it at length.\n"
        .to_owned();
    let mut group = None;
    for setting in SETTINGS {
        if group != Some(setting.group) {
            group = Some(setting.group);
            let _ = write!(file, "\n# --- {} ---\n", setting.group.title());
        }
        let (Initial::Default(value) | Initial::Unset(value)) = setting.initial;
        let unset = if setting.is_optional() { " Unset by default." } else { "" };
        let _ = writeln!(file, "\n# {}{unset}\n#{PREFIX}{}={value}", setting.doc, setting.name);
    }
    file
}

#[test]
fn settings_page_is_current() {
    crate::generated::assert_current("docs/settings.md", &settings_page());
}

#[test]
fn env_example_is_current() {
    crate::generated::assert_current(".env.example", &env_example());
}

#[test]
fn the_example_is_a_sound_env_file_for_development() {
    // What is an example of a file, folder or PEM that is not there, and what takes the place of other keys.
    let elsewhere = [
        "JWT_KEYS_DIR",
        "JWT_PUBLIC_KEY",
        "JWT_PREVIOUS_PUBLIC_KEY",
        "JWT_JWKS_URL",
        "REDIS_CLUSTER_NODES",
        "REDIS_TLS_CA",
        "REDIS_TLS_CERTIFICATE",
        "REDIS_TLS_KEY",
        "TLS_CERTIFICATE",
        "TLS_KEY",
    ];
    let usable = |line: &&str| !elsewhere.iter().any(|name| line.starts_with(&format!("#{PREFIX}{name}=")));
    let lines = env_example()
        .lines()
        .filter(usable)
        .map(|line| line.replace("#WEBSOCKET", "WEBSOCKET") + "\n")
        .collect::<String>();
    let loaded = super::Config::load(&super::Sources::default().with_dotenv(&lines));
    assert!(loaded.is_ok(), "{}", loaded.expect_err("a fault"));
}

#[test]
fn no_two_keys_are_the_same() {
    let mut keys: Vec<_> =
        SETTINGS.iter().flat_map(|s| s.forms().iter().map(|form: &Form| s.key(*form))).collect();
    keys.sort();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count);
}
