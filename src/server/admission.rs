//! Whether there is room for one more connection, asked before anything is spent on it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::client_address::share_of;
use super::refusal::refuse;
use super::strangers::Strangers;
use crate::config::LimitsConfig;
use crate::memory::MemoryShare;
use crate::protocol::{ErrorCode, ServiceError};
use crate::rate_limit::TokenBucket;

/// The pod's places.
#[derive(Debug)]
pub struct Admission {
    limits: LimitsConfig,
    taken: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    handshakes: Mutex<TokenBucket>,
    strangers: Strangers,
    memory: MemoryShare,
}

/// One taken place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Admission {
    /// All places free.
    #[must_use]
    pub fn new(limits: &LimitsConfig, memory: MemoryShare) -> Arc<Self> {
        Arc::new(Self {
            limits: limits.clone(),
            taken: AtomicUsize::new(0),
            by_address: Mutex::default(),
            handshakes: Mutex::new(TokenBucket::full(
                limits.handshakes_per_second.unwrap_or(0),
                Instant::now(),
            )),
            strangers: Strangers::new(limits),
            memory,
        })
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 503 when the pod is full, short of memory, or upgrades come too fast; 429 when the address has its share.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, ServiceError> {
        // First, so that one address cannot use up what is there for all.
        self.strangers.come(address)?;
        if let (Some(most), Some(percent)) = (self.limits.memory_percent, self.memory.percent())
            && percent >= most
        {
            return Err(refuse(ErrorCode::ServiceUnavailable, "This pod is short of memory", (5, 15))
                .with_detail("percent", percent));
        }
        if let Some(rate) = self.limits.handshakes_per_second
            && !self.handshakes.lock().take(rate, rate, Instant::now())
        {
            return Err(refuse(ErrorCode::ServiceUnavailable, "Too many upgrades at once", (1, 5)));
        }
        let limit = self.limits.connections;
        let full = |taken| if taken < limit { Some(taken + 1) } else { None };
        if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, full).is_err() {
            return Err(refuse(ErrorCode::ServiceUnavailable, "This pod is full", (5, 15))
                .with_detail("limit", limit));
        }
        // From here on dropping the place gives back what was taken.
        let mut place = Place { admission: Arc::clone(self), address: None };
        if let Some(share) = self.limits.per_address {
            let address = share_of(address);
            let mut by_address = self.by_address.lock();
            let open = by_address.entry(address).or_insert(0);
            if *open >= share {
                drop(by_address);
                return Err(refuse(
                    ErrorCode::QuotaExceeded,
                    "This address has too many connections",
                    (5, 15),
                )
                .with_detail("limit", share));
            }
            *open += 1;
            place.address = Some(address);
        }
        Ok(place)
    }

    /// Counts a refused token against its address.
    pub(super) fn refused_token(&self, address: IpAddr) {
        self.strangers.failed(address);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut by_address = self.admission.by_address.lock();
            if let Some(open) = by_address.get_mut(&address) {
                *open -= 1;
                if *open == 0 {
                    by_address.remove(&address);
                }
            }
        }
        self.admission.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn admission(limits: &LimitsConfig) -> Arc<Admission> {
        Admission::new(limits, MemoryShare::default())
    }

    fn statuses(admission: &Arc<Admission>, address: IpAddr, times: usize) -> (Vec<Place>, Vec<u16>) {
        let mut places = Vec::new();
        let mut refused = Vec::new();
        for _ in 0..times {
            match admission.enter(address) {
                Ok(place) => places.push(place),
                Err(error) => {
                    assert!(error.retry_after() >= Some(1));
                    refused.push(error.status().as_u16());
                }
            }
        }
        (places, refused)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_pod_refuses_until_somebody_leaves() {
        let admission = admission(&LimitsConfig { connections: 2, ..LimitsConfig::default() });
        let (places, refused) = statuses(&admission, HERE, 3);
        assert_eq!((places.len(), refused), (2, vec![503]));
        drop(places);
        assert_eq!(statuses(&admission, HERE, 2).0.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_short_of_memory_takes_nobody() {
        let memory = MemoryShare::default();
        let admission = Admission::new(&LimitsConfig::default(), memory.clone());
        memory.set(Some(89));
        assert_eq!(statuses(&admission, HERE, 1).0.len(), 1);
        memory.set(Some(90));
        assert_eq!(statuses(&admission, HERE, 1).1, [503]);
        memory.set(None);
        assert_eq!(statuses(&admission, HERE, 1).0.len(), 1);
        let limits = LimitsConfig { memory_percent: None, ..LimitsConfig::default() };
        memory.set(Some(100));
        assert_eq!(statuses(&Admission::new(&limits, memory), HERE, 1).0.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_share() {
        let limits = LimitsConfig { per_address: Some(1), connections: 3, ..LimitsConfig::default() };
        let admission = admission(&limits);
        let (here, refused) = statuses(&admission, HERE, 2);
        assert_eq!((here.len(), refused), (1, vec![429]));
        assert_eq!(statuses(&admission, THERE, 1).0.len(), 1);
        drop(here);
        assert!(admission.by_address.lock().is_empty(), "addresses that left are forgotten");
        assert_eq!(admission.taken.load(Ordering::Relaxed), 0, "a refusal keeps no place");
    }

    #[tokio::test(start_paused = true)]
    async fn upgrades_come_at_the_configured_rate() {
        let limits = LimitsConfig { handshakes_per_second: Some(5), ..LimitsConfig::default() };
        let admission = admission(&limits);
        assert_eq!(statuses(&admission, HERE, 8).1, vec![503; 3]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(statuses(&admission, HERE, 8).1, vec![503; 3]);
    }
}
