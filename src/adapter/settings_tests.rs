use super::*;

const BASE: &[&str] =
    &["--namespace=ns", "--deployment=ws", "--selector=app=ws", "--pod-name=adapter-1", "--lease=ws-adapter"];

/// Without what the environment of a test run may add.
fn parsed(base: &[&str], more: &[&str]) -> Result<Settings, String> {
    let mut command = Flags::command();
    for name in command.get_arguments().map(|flag| flag.get_id().clone()).collect::<Vec<_>>() {
        command = command.mut_arg(name, |flag| flag.env(clap::builder::Resettable::Reset));
    }
    let arguments = ["metrics-adapter"].iter().chain(base).chain(more);
    let matches = command.try_get_matches_from(arguments).map_err(|error| error.to_string())?;
    let flags = Flags::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    flags.settings()
}

const SELF_MADE: &[&str] = &["--tls-secret=ws-adapter-tls", "--service=ws-adapter"];
const FILES: &[&str] = &["--tls-certificate=/tls/tls.crt", "--tls-key=/tls/tls.key"];

#[test]
fn the_declaration_is_sound() {
    Flags::command().debug_assert();
}

#[test]
fn every_flag_is_also_read_from_the_environment() {
    for flag in Flags::command().get_arguments() {
        assert!(flag.get_env().is_some(), "{}", flag.get_id());
    }
}

#[test]
fn the_defaults_are_the_chart_s() {
    let settings = parsed(BASE, SELF_MADE).expect("sound");
    assert_eq!(settings.listen.to_string(), "0.0.0.0:10250");
    assert_eq!(settings.health.to_string(), "0.0.0.0:9006");
    assert_eq!((settings.gauge_port, settings.redis_url.is_none()), (9005, true));
    assert_eq!((settings.telemetry.level, settings.telemetry.format), (LogLevel::Info, LogFormat::Json));
    let certificate =
        CertificateSource::SelfMade { secret: "ws-adapter-tls".to_owned(), service: "ws-adapter".to_owned() };
    assert_eq!(settings.certificate, certificate);
    let leadership = Leadership { lease: "ws-adapter".to_owned(), identity: "adapter-1".to_owned() };
    assert_eq!(settings.leadership, Some(leadership));
    assert_eq!(settings.deletion_cost, None);
}

#[test]
fn a_given_certificate_needs_a_leader_only_for_the_deletion_cost() {
    let base = &BASE[..3];
    let settings = parsed(base, FILES).expect("sound");
    assert!(matches!(settings.certificate, CertificateSource::Files { .. }));
    assert_eq!(settings.leadership, None);
    let target = [FILES, &["--target=3500", "--min-replicas=2"]].concat();
    assert!(parsed(base, &target).expect_err("no lease").contains("--lease"));
    let settings = parsed(BASE, &target).expect("sound");
    assert!(settings.leadership.is_some());
    let cost = settings.deletion_cost.expect("given");
    assert_eq!((cost.target.get(), cost.min_replicas.get()), (3500, 2));
}

#[test]
fn the_adapter_s_own_namespace_is_the_default() {
    let settings = parsed(&BASE[1..], &[FILES, &["--pod-namespace=own"]].concat()).expect("sound");
    assert_eq!(settings.namespace, "own");
    assert!(parsed(&BASE[1..], FILES).expect_err("nowhere").contains("--namespace"));
}

#[test]
fn a_bad_combination_is_told_in_a_sentence() {
    let both = [FILES, SELF_MADE].concat();
    let two_urls = [FILES, &["--redis-url=redis://r", "--redis-url-file=/r"]].concat();
    for (flags, says) in [
        (&[][..], "--tls-secret, --service and --lease"),
        (&FILES[..1], "--tls-certificate needs --tls-key"),
        (&FILES[1..], "--tls-key needs --tls-certificate"),
        (&SELF_MADE[..1], "--tls-secret needs --service"),
        (&both, "not both"),
        (&two_urls, "--redis-url-file, not both"),
    ] {
        let error = parsed(BASE, flags).expect_err("a bad combination");
        assert!(error.contains(says), "{flags:?}: {error}");
    }
}

#[test]
fn a_bad_value_names_its_flag() {
    for flag in [
        "--port=70000",
        "--target=0",
        "--log-level=loud",
        "--host=here",
        "--gauge-port=0",
        "--deployment=",
        "--selector=a>1",
        "--selector=",
    ] {
        let error = parsed(&BASE[3..], &[FILES, &[flag]].concat()).expect_err("a bad value");
        assert!(error.contains(flag.split('=').next().expect("a name")), "{error}");
    }
}
