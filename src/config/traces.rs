use std::time::Duration;

use super::fault::Problem;
use super::table;
use super::values::Values;

/// What the exporter waits for an answer, unless told otherwise: OpenTelemetry's own default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether spans are made, and what they show.
#[derive(Debug, Clone, Default)]
pub struct TraceConfig {
    /// Where tracing is on, what decides how to build the exporter.
    pub export: Option<TraceExport>,
    /// `TRACE_USER_IDS`: spans show user ids as they are, not as pseudonyms.
    pub user_ids: bool,
}

/// The part of the standard `OTEL_*` variables that decides how to build the exporter, which reads the rest by itself, and
/// what is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceExport {
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: TraceProtocol,
    /// Whether the endpoint's URL is one of HTTPS.
    pub tls: bool,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`.
    pub timeout: Duration,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// `OTEL_TRACES_SAMPLER`, with its `_ARG`.
    pub sampling: TraceSampling,
}

/// What is recorded. All, where the caller does not say otherwise, is the standard's default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TraceSampling {
    /// Whether a caller that names a trace has decided for it.
    pub parent_based: bool,
    /// How much of the rest is recorded, from 0 to 1.
    pub ratio: f64,
}

impl Default for TraceSampling {
    fn default() -> Self {
        Self { parent_based: true, ratio: 1.0 }
    }
}

/// How spans travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceProtocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, as protobuf; the standard's default.
    Http,
}

impl TraceConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        Self { user_ids: values.switch(&table::TRACE_USER_IDS).unwrap_or_default(), export: export(values) }
    }
}

/// Tracing is on once an endpoint is named, and not switched off.
fn export(values: &mut Values) -> Option<TraceExport> {
    let endpoint = values.otel("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let endpoint = endpoint.or_else(|| values.otel("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let disabled = values.otel("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    match values.otel("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return None,
        Some(other) => {
            let problem =
                Problem::new(format!("{other:?} is no exporter of this service"), "say otlp or none");
            values.otel_fault("OTEL_TRACES_EXPORTER", problem);
            return None;
        }
    }
    let endpoint = endpoint.filter(|_| !disabled)?;
    let protocol = of_traces(values, "PROTOCOL");
    let protocol = match protocol.as_ref().map(|(_, text)| text.as_str()) {
        None | Some("http/protobuf") => TraceProtocol::Http,
        Some("grpc") => TraceProtocol::Grpc,
        Some(other) => {
            let problem = Problem::new(format!("{other:?} is not spoken"), "say grpc or http/protobuf");
            values.otel_fault(protocol.as_ref().map_or("", |(name, _)| name), problem);
            return None;
        }
    };
    let timeout = match of_traces(values, "TIMEOUT") {
        None => TIMEOUT,
        Some((name, text)) => match text.parse() {
            Ok(milliseconds) => Duration::from_millis(milliseconds),
            Err(_) => {
                let problem =
                    Problem::new(format!("{text:?} is no number"), "give milliseconds, such as 10000");
                values.otel_fault(&name, problem);
                return None;
            }
        },
    };
    let tls = endpoint.starts_with("https:");
    let sampling = sampling(values)?;
    Some(TraceExport { protocol, tls, timeout, service_name: values.otel("OTEL_SERVICE_NAME"), sampling })
}

/// `None` after a fault.
fn sampling(values: &mut Values) -> Option<TraceSampling> {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(named) = values.otel(SAMPLER) else { return Some(TraceSampling::default()) };
    let (parent_based, root) = match named.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, named.as_str()),
    };
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => match values.otel(RATIO) {
            None => 1.0,
            Some(text) => match text.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => {
                    let problem = Problem::new(format!("{text:?} is no ratio"), "give 0 to 1, such as 0.01");
                    values.otel_fault(RATIO, problem);
                    return None;
                }
            },
        },
        _ => {
            let remedy = "say always_on, always_off or traceidratio, or one of them after parentbased_";
            values.otel_fault(
                SAMPLER,
                Problem::new(format!("{named:?} is no sampler of this service"), remedy),
            );
            return None;
        }
    };
    Some(TraceSampling { parent_based, ratio })
}

/// A variable of the exporter, and its name: the one for traces alone beats the one for all signals.
fn of_traces(values: &Values, what: &str) -> Option<(String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
    names.into_iter().find_map(|name| values.otel(&name).map(|text| (name, text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Faults, Sources};

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceExport>, Faults> {
        let sources = variables
            .iter()
            .fold(Sources::default(), |sources, (name, value)| sources.with_environment(name, value));
        Config::load(&sources).map(|loaded| loaded.config.traces.export)
    }

    #[test]
    fn an_endpoint_switches_it_on() {
        const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert_eq!(read(&[]).expect("sound"), None);
        let by_default = read(&[ENDPOINT]).expect("sound").expect("on");
        assert_eq!(
            (by_default.protocol, by_default.tls, by_default.timeout),
            (TraceProtocol::Http, false, TIMEOUT)
        );
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(read(&[ENDPOINT, off]).expect("sound"), None);
        }
        let traces_first = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_SERVICE_NAME", "ws-eu"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ]);
        let expected = TraceExport {
            protocol: TraceProtocol::Grpc,
            tls: true,
            timeout: Duration::from_millis(2_500),
            service_name: Some("ws-eu".to_owned()),
            sampling: TraceSampling { parent_based: false, ratio: 0.01 },
        };
        assert_eq!(traces_first.expect("sound"), Some(expected));
    }

    #[test]
    fn the_sampler_is_one_of_the_standard() {
        let sampling = |variables: &[(&str, &str)]| {
            let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
            read(&[&endpoint, variables].concat()).expect("sound").expect("on").sampling
        };
        assert_eq!(sampling(&[]), TraceSampling { parent_based: true, ratio: 1.0 });
        for (name, parent_based, ratio) in [
            ("always_on", false, 1.0),
            ("always_off", false, 0.0),
            ("traceidratio", false, 0.25),
            ("parentbased_always_on", true, 1.0),
            ("parentbased_always_off", true, 0.0),
            ("parentbased_traceidratio", true, 0.25),
        ] {
            let found = sampling(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
            assert_eq!(found, TraceSampling { parent_based, ratio }, "{name}");
        }
        assert_eq!(sampling(&[("OTEL_TRACES_SAMPLER", "traceidratio")]).ratio, 1.0);
    }

    #[test]
    fn what_cannot_be_done_is_a_fault_that_says_what_can() {
        for (name, value, remedy) in [
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "grpc or http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon", "10000"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5", "0 to 1"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN", "0 to 1"),
            ("OTEL_TRACES_SAMPLER_ARG", "1%", "0 to 1"),
            ("OTEL_TRACES_SAMPLER", "xray", "parentbased_"),
        ] {
            let faults = read(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                (name, value),
            ]);
            let text = faults.expect_err("a fault").to_string();
            assert!(text.contains(name) && text.contains(value) && text.contains(remedy), "{text}");
        }
    }
}
