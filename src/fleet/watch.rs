use std::collections::HashMap;
use std::time::Duration;

use super::pod::{Pod, State};
use super::view::View;
use super::{Reading, Word};
use crate::protocol::PodGauge;

/// Makes views of readings, and remembers what the next one needs of the last.
#[derive(Debug, Default)]
pub struct Watch {
    known: HashMap<String, Known>,
}

/// What is remembered of a pod, by its key in the readings.
#[derive(Debug, Clone)]
struct Known {
    pod: String,
    counted: Option<Counted>,
}

/// The last count of its messages, and the rate up to there.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// In milliseconds since 1970, by the pod's clock.
    at: u64,
    sent: u64,
    rate: Option<f64>,
}

impl Watch {
    /// Takes a reading. Pods that are not in it are forgotten.
    pub fn view(&mut self, reading: Reading) -> View {
        let mut before = std::mem::take(&mut self.known);
        let mut pods = Vec::with_capacity(reading.pods.len());
        for heard in reading.pods {
            let known = before.remove(&heard.key);
            let (known, pod) = match heard.word {
                Word::Report(gauge) => {
                    let counted = count(known.and_then(|known| known.counted), &gauge);
                    let known = Known { pod: gauge.pod.clone(), counted };
                    (known, Pod::reporting(*gauge, counted.and_then(|counted| counted.rate), reading.at))
                }
                Word::Expired { at } => {
                    let known = nameless(known, &heard.key);
                    let age = Duration::from_millis(reading.at.saturating_sub(at)).as_secs_f64();
                    let pod = Pod::silent(known.pod.clone(), State::Stale);
                    (known, Pod { age_seconds: Some(age.round()), ..pod })
                }
                Word::Silent(error) => {
                    let known = nameless(known, &heard.key);
                    let pod = Pod::silent(known.pod.clone(), State::Unreachable);
                    (known, Pod { error: Some(error), ..pod })
                }
            };
            self.known.insert(heard.key, known);
            pods.push(pod);
        }
        View::new(reading.at, pods)
    }

    /// Whether the rate of every pod is known that counts its messages.
    #[must_use]
    pub fn has_rates(&self) -> bool {
        self.known.values().all(|known| known.counted.is_none_or(|counted| counted.rate.is_some()))
    }
}

/// What stays known of a pod that says nothing: its name, if it ever told that.
fn nameless(known: Option<Known>, key: &str) -> Known {
    Known { pod: known.map_or_else(|| key.to_owned(), |known| known.pod), counted: None }
}

/// The rate between two reports. One that was seen already tells nothing new; a count below the last one is that of a
/// process that has started again, and a clock that was put back tells no time.
fn count(before: Option<Counted>, gauge: &PodGauge) -> Option<Counted> {
    let (at, sent) = (gauge.at, gauge.messages_sent?);
    let rate = match before {
        Some(before) if before.at == at => before.rate,
        Some(before) if before.at < at => {
            sent.checked_sub(before.sent).map(|more| more as f64 * 1_000.0 / (at - before.at) as f64)
        }
        _ => None,
    };
    Some(Counted { at, sent, rate })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Heard;

    const NOW: u64 = 1_800_000_000_000;

    fn report(at: u64, sent: Option<u64>) -> Word {
        let gauge =
            PodGauge { pod: "ws-1".to_owned(), limit: 10, at, messages_sent: sent, ..PodGauge::default() };
        Word::Report(Box::new(gauge))
    }

    fn read(watch: &mut Watch, word: Word) -> Pod {
        let pods = vec![Heard { key: "uid".to_owned(), word }];
        watch.view(Reading { at: NOW, pods }).pods.remove(0)
    }

    fn rate(watch: &mut Watch, at: u64, sent: u64) -> Option<f64> {
        read(watch, report(at, Some(sent))).messages_per_second
    }

    #[test]
    fn the_rate_is_that_between_two_reports() {
        let mut watch = Watch::default();
        assert_eq!(rate(&mut watch, NOW - 4_000, 100), None, "one count is no rate");
        assert!(!watch.has_rates());
        assert_eq!(rate(&mut watch, NOW - 2_000, 150), Some(25.0), "by the pod's clock, whenever it is read");
        assert!(watch.has_rates());
        assert_eq!(rate(&mut watch, NOW - 2_000, 150), Some(25.0), "the same report again");
        assert_eq!(rate(&mut watch, NOW, 150), Some(0.0));
    }

    #[test]
    fn what_does_not_follow_is_no_rate() {
        let mut watch = Watch::default();
        rate(&mut watch, NOW - 4_000, 100);
        assert_eq!(rate(&mut watch, NOW - 2_000, 7), None, "it has started again");
        assert_eq!(rate(&mut watch, NOW, 9), Some(1.0));
        assert_eq!(rate(&mut watch, NOW - 5_000, 20), None, "its clock was put back");
        assert_eq!(read(&mut watch, report(NOW, None)).messages_per_second, None, "it does not count");
        assert!(watch.has_rates(), "there is nothing to wait for");
        read(&mut watch, Word::Expired { at: NOW });
        assert_eq!(rate(&mut watch, NOW, 30), None, "nobody knows since when");
    }

    #[test]
    fn a_pod_that_falls_silent_keeps_its_name_and_has_no_numbers() {
        let mut watch = Watch::default();
        let pod = read(&mut watch, Word::Expired { at: NOW - 20_400 });
        assert_eq!((pod.pod.as_str(), pod.state, pod.age_seconds), ("uid", State::Stale, Some(20.0)));
        assert_eq!(read(&mut watch, report(NOW, Some(1))).state, State::Ready);
        let pod = read(&mut watch, Word::Silent("refused".to_owned()));
        assert_eq!((pod.pod.as_str(), pod.state, pod.connections), ("ws-1", State::Unreachable, None));
        assert_eq!(pod.error.as_deref(), Some("refused"));
        assert_eq!(read(&mut watch, Word::Expired { at: NOW }).pod, "ws-1");
    }

    #[test]
    fn pods_that_are_gone_are_forgotten() {
        let mut watch = Watch::default();
        rate(&mut watch, NOW, 1);
        watch.view(Reading { at: NOW, pods: Vec::new() });
        assert!(watch.known.is_empty());
    }
}
