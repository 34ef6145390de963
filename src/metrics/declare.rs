use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// One metric as the documentation shows it.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its name in the exposition.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its label and the label's values, if it has one.
    pub label: Option<(&'static str, Vec<String>)>,
    /// Labels that say whose it is: each process has one value of each.
    pub owner: Vec<&'static str>,
    /// What it counts, with its unit.
    pub help: &'static str,
}

/// Registers metrics and remembers how they were described, so that a declaration is written once.
#[derive(Default)]
pub(super) struct Declare {
    pub(super) registry: Registry,
    pub(super) descriptions: Vec<Description>,
}

impl Declare {
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> IntCounter {
        let metric = IntCounter::new(name, help);
        self.add(name, "counter", None, help, metric)
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        let metric = IntGauge::new(name, help);
        self.add(name, "gauge", None, help, metric)
    }

    pub(super) fn histogram(&mut self, name: &'static str, buckets: &[f64], help: &'static str) -> Histogram {
        let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()));
        self.add(name, "histogram", None, help, metric)
    }

    pub(super) fn family<L: Label>(&mut self, name: &'static str, help: &'static str) -> Family<L> {
        let values: Vec<String> = L::ALL.iter().map(|value| value.value()).collect();
        let vec = IntCounterVec::new(Opts::new(name, help), &[L::NAME]);
        let vec = self.add(name, "counter", Some((L::NAME, values.clone())), help, vec);
        let children = values.iter().map(|value| vec.with_label_values(&[value])).collect();
        Family { children, label: PhantomData }
    }

    /// `owner`: labels with this process's own values.
    pub(super) fn known(
        &mut self,
        name: &'static str,
        owner: &[(&'static str, &str)],
        help: &'static str,
    ) -> Known {
        let (names, values): (Vec<&'static str>, Vec<String>) =
            owner.iter().map(|(name, value)| (*name, (*value).to_owned())).unzip();
        let vec = self.add(name, "gauge", None, help, IntGaugeVec::new(Opts::new(name, help), &names));
        if let Some(description) = self.descriptions.last_mut() {
            description.owner = names;
        }
        Known { vec, values }
    }

    /// The text exposition of everything declared.
    pub(super) fn encode(&self) -> String {
        let mut out = Vec::with_capacity(4 * 1024);
        // Writing to memory does not fail, and every family was checked when it was registered.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    fn add<M: Collector + Clone + 'static>(
        &mut self,
        name: &'static str,
        kind: &'static str,
        label: Option<(&'static str, Vec<String>)>,
        help: &'static str,
        metric: prometheus::Result<M>,
    ) -> M {
        // Names are constants of this crate: a wrong or doubled one shows in every test that makes a `Metrics`.
        let metric = metric.expect("a well-formed metric name");
        self.registry.register(Box::new(metric.clone())).expect("a metric name used once");
        self.descriptions.push(Description { name, kind, label, owner: Vec::new(), help });
        metric
    }
}

/// A gauge of something that may be unknown: then it has no series.
#[derive(Debug)]
pub struct Known {
    vec: IntGaugeVec,
    values: Vec<String>,
}

impl Known {
    /// Sets it, or takes its series away.
    pub fn set(&self, value: Option<u64>) {
        match value {
            Some(value) => {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                self.vec.with_label_values(&self.values).set(value);
            }
            None => self.vec.reset(),
        }
    }
}

/// The values of a label: a closed set, so that no stranger can make series.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
    /// Its spelling.
    fn value(self) -> String;
}

/// A counter for each value of a label, found by index instead of by hashing text.
#[derive(Debug)]
pub struct Family<L> {
    children: Box<[IntCounter]>,
    label: PhantomData<L>,
}

impl<L: Label> Family<L> {
    /// The counter of one value.
    #[must_use]
    pub fn of(&self, value: L) -> &IntCounter {
        &self.children[value.index()]
    }
}
