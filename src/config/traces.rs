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

/// The part of the standard `OTEL_*` variables that decides how to build the exporter; the rest it reads by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceExport {
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub protocol: TraceProtocol,
    /// Whether the endpoint's URL is one of HTTPS.
    pub tls: bool,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`.
    pub timeout: Duration,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
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
    Some(TraceExport { protocol, tls, timeout, service_name: values.otel("OTEL_SERVICE_NAME") })
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
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ]);
        let expected = TraceExport {
            protocol: TraceProtocol::Grpc,
            tls: true,
            timeout: Duration::from_millis(2_500),
            service_name: Some("ws-eu".to_owned()),
        };
        assert_eq!(traces_first.expect("sound"), Some(expected));
    }

    #[test]
    fn what_cannot_be_done_is_a_fault_that_says_what_can() {
        for (name, value, remedy) in [
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "grpc or http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon", "10000"),
        ] {
            let faults = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"), (name, value)]);
            let text = faults.expect_err("a fault").to_string();
            assert!(text.contains(name) && text.contains(value) && text.contains(remedy), "{text}");
        }
    }
}
