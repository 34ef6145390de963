//! The Secret that keeps the adapter's certificate: every adapter shows what is in it, the leader sees to it that
//! something good is.
//!
//! A new certificate is announced before it is shown: its authority goes into the `APIServices` beside the old one, then
//! the Secret is written, which all adapters watch. At no time does one show a certificate that is not trusted.

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use kube::{Api, Client};
use rustls::pki_types::UnixTime;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::FIELD_MANAGER;
use super::ca_bundle::{CaBundle, NotTrusted};
use super::call::{CallError, bounded};
use super::certificate::{CertificateError, Standing, Stored, server_name};
use super::metrics::ControlMetrics;
use crate::backoff::Backoff;
use crate::tls::Identity;
use crate::told::Told;

/// Between two looks at the dates and at the `APIServices`, if nothing happens.
const CHECK: Duration = Duration::from_secs(30);
/// From the announcement of a new authority to its first use: the API servers hear of it by watches of their own.
const SPREAD: Duration = Duration::from_secs(10);
/// Bounds of the delays after failures.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), CHECK);

/// The Secret as it was seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seen {
    /// Not read yet.
    #[default]
    Unknown,
    /// It does not exist.
    Missing,
    /// It exists.
    There {
        /// Its resource version.
        version: Option<String>,
        /// What it keeps; `None` while a key of it is missing, as in the empty Secret of the chart.
        stored: Option<Stored>,
    },
}

impl Seen {
    fn of(secret: Option<Secret>) -> Self {
        let Some(secret) = secret else { return Self::Missing };
        let data = secret.data.unwrap_or_default();
        let text = |key: &str| {
            let ByteString(bytes) = data.get(key)?;
            String::from_utf8(bytes.clone()).ok()
        };
        let stored = text("ca.crt").zip(text("tls.crt")).zip(text("tls.key"));
        Self::There {
            version: secret.metadata.resource_version,
            stored: stored.map(|((ca, certificate), key)| Stored { ca, certificate, key }),
        }
    }
}

/// Watches the Secret, for ever. `identity` is what is to be shown: the last usable certificate that was seen, even when
/// the Secret is gone, for it is trusted until another takes its place.
pub async fn watch_secret(
    client: Client,
    namespace: &str,
    name: &str,
    seen: &watch::Sender<Seen>,
    identity: &watch::Sender<Option<Identity>>,
) {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let mut events = std::pin::pin!(watch_object(secrets, name).default_backoff());
    let mut told = Told::working();
    while let Some(event) = events.next().await {
        match event {
            Ok(secret) => {
                told.is_new::<kube::runtime::watcher::Error>(Ok(()));
                let now = Seen::of(secret);
                if let Seen::There { stored: Some(stored), .. } = &now {
                    match stored.identity() {
                        Ok(usable) => {
                            identity.send_if_modified(|shown| {
                                let new = shown.as_ref().is_none_or(|shown| shown.chain != usable.chain);
                                if new {
                                    *shown = Some(usable);
                                }
                                new
                            });
                        }
                        Err(error) => tracing::warn!(%error, secret = name, "the leader is to write it anew"),
                    }
                }
                seen.send_if_modified(|seen| {
                    let new = *seen != now;
                    *seen = now;
                    new
                });
            }
            Err(error) => {
                if told.is_new(Err(&error)) {
                    tracing::warn!(
                        %error,
                        secret = name,
                        "cannot watch the Secret; the adapter's Role needs get, list and watch on it"
                    );
                }
            }
        }
    }
}

/// Why a round did not come to its end; it is tried again.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    NotTrusted(#[from] NotTrusted),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(
        "cannot write the Secret: {0}; the adapter's Role needs create on secrets, and patch on this one"
    )]
    Write(#[from] CallError),
}

/// What the leader does about the certificate.
#[derive(Debug)]
pub struct Authority {
    secrets: Api<Secret>,
    secret: String,
    server_name: String,
    seen: watch::Receiver<Seen>,
    bundle: CaBundle,
    /// The last certificate that the API server accepted, as long as it does.
    usable: Option<Stored>,
    /// What was replaced, until the watch shows by what.
    replaced: Option<Seen>,
    metrics: ControlMetrics,
}

impl Authority {
    /// The certificate is for `service`; `seen` comes from [`watch_secret`].
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        secret: &str,
        service: &str,
        seen: watch::Receiver<Seen>,
        metrics: ControlMetrics,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            secret: secret.to_owned(),
            server_name: server_name(service, namespace),
            seen,
            bundle: CaBundle::new(client, namespace, service, metrics.clone()),
            usable: None,
            replaced: None,
            metrics,
        }
    }

    /// Keeps Secret and `APIServices` as they should be, for ever. To be dropped when the lead is lost.
    pub async fn lead(mut self) {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let pause = match self.round().await {
                Ok(()) => {
                    backoff.reset();
                    CHECK
                }
                // Has been told by the one that failed.
                Err(RoundError::NotTrusted(_)) => backoff.next_delay(),
                Err(error) => {
                    tracing::warn!(%error, secret = self.secret, "no certificate; trying again");
                    backoff.next_delay()
                }
            };
            if let Ok(Err(_)) = timeout(pause, self.seen.changed()).await {
                // Nobody watches any more: the adapter stops.
                return;
            }
        }
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let seen = self.seen.borrow_and_update().clone();
        if seen == Seen::Unknown || self.replaced.as_ref() == Some(&seen) {
            return Ok(());
        }
        self.replaced = None;
        let now = UnixTime::now();
        let stored = match &seen {
            Seen::There { stored, .. } => stored.as_ref(),
            Seen::Unknown | Seen::Missing => None,
        };
        let standing = stored.map_or(Standing::Unusable, |stored| stored.standing(&self.server_name, now));
        if let (Some(stored), Standing::Good | Standing::Ageing) = (stored, standing) {
            self.usable = Some(stored.clone());
        }
        match (stored, standing) {
            (Some(stored), Standing::Good) => {
                self.bundle.ensure(&stored.ca).await?;
                Ok(())
            }
            (_, standing) => self.renew(&seen, standing, now).await,
        }
    }

    async fn renew(&mut self, seen: &Seen, standing: Standing, now: UnixTime) -> Result<(), RoundError> {
        if self.usable.as_ref().is_some_and(|old| old.standing(&self.server_name, now) == Standing::Unusable)
        {
            self.usable = None;
        }
        // Where there is an old one, some adapter still shows it, even when the Secret is gone.
        let new = Stored::make(&self.server_name, self.usable.as_ref(), now)?;
        match self.bundle.ensure(&new.ca).await {
            Ok(true) if self.usable.is_some() => sleep(SPREAD).await,
            Ok(_) => {}
            // As long as the old one works, no new one is shown that is not trusted. Without one there is nothing to
            // lose; an APIService that leads nowhere loses no trust.
            Err(error) if standing == Standing::Ageing && !error.only_absent => return Err(error.into()),
            Err(_) => {}
        }
        self.write(seen, &new).await?;
        self.metrics.certificate_rotations.inc();
        tracing::info!(secret = self.secret, server_name = self.server_name, "a new certificate is stored");
        self.replaced = Some(seen.clone());
        Ok(())
    }

    /// Writes over what was seen and nothing else: where somebody wrote since, that is looked at first.
    async fn write(&self, seen: &Seen, new: &Stored) -> Result<(), CallError> {
        let data = [("ca.crt", &new.ca), ("tls.crt", &new.certificate), ("tls.key", &new.key)];
        let data = data.into_iter().map(|(key, pem)| (key.to_owned(), ByteString(pem.clone().into_bytes())));
        let mut secret = Secret {
            metadata: ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() },
            data: Some(data.collect()),
            ..Secret::default()
        };
        if let Seen::There { version, .. } = seen {
            // Its type stays: that cannot be changed, and the chart's empty one has another than one of ours.
            secret.metadata.resource_version.clone_from(version);
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            bounded(self.secrets.patch(&self.secret, &parameters, &Patch::Apply(&secret))).await?;
        } else {
            secret.type_ = Some("kubernetes.io/tls".to_owned());
            let parameters =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            bounded(self.secrets.create(&parameters, &secret)).await?;
        }
        Ok(())
    }
}
