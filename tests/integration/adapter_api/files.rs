//! The certificate to show, from mounted files that change.

use std::time::Duration;

use tokio::sync::watch;
use websocket_service::config::Secret;
use websocket_service::tls::{self, Files, Identity};

use super::world::{Authority, NAME, Talk, World};
use crate::support::logs::Logs;
use crate::support::mounted::Mounted;
use crate::support::{LOCAL, eventually};

const EVERY: Duration = Duration::from_millis(5);

fn mounted(authority: &Authority) -> Mounted {
    let (certificate, key) = authority.server_pem();
    Mounted::new(&[("tls.crt", &certificate), ("tls.key", &key)])
}

fn files(mounted: &Mounted) -> Files {
    let file = |name| Secret::File(mounted.path(name).into());
    Files { certificate: file("tls.crt"), key: file("tls.key") }
}

fn watched(files: Files, identity: watch::Sender<Option<Identity>>) {
    tokio::spawn(tls::watch(files, EVERY, move |new| {
        identity.send_replace(Some(new));
    }));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let authority = Authority::new();
    let world = World::ready(&authority).await;
    let mounted = mounted(&world.own);
    watched(files(&mounted), world.identity.clone());
    let client = authority.client(NAME);
    let shown = async || world.connect(Some(&client)).await.expect("connected").shown();
    let first = shown().await;
    let (certificate, key) = world.own.server_pem();
    mounted.change(&[("tls.crt", &certificate), ("tls.key", &key)]);
    eventually("the new one is shown", LOCAL, async || shown().await != first).await;
}

#[tokio::test]
async fn a_broken_pair_leaves_the_old_one_in_force_and_says_so() {
    let logs = Logs::capture();
    let authority = Authority::new();
    let mounted = mounted(&authority);
    let (sender, mut identity) = watch::channel(None);
    watched(files(&mounted), sender);
    identity.wait_for(Option::is_some).await.expect("watched");
    identity.mark_unchanged();

    let ((certificate, key), (_, other_key)) = (authority.server_pem(), authority.server_pem());
    let said = || logs.count("the old one stays in force");
    for (nth, broken) in [
        [("tls.crt", certificate.as_str()), ("tls.key", other_key.as_str())],
        [("tls.crt", "no PEM"), ("tls.key", key.as_str())],
        [("tls.crt", certificate.as_str()), ("tls.key", "no PEM")],
    ]
    .iter()
    .enumerate()
    {
        mounted.change(broken);
        eventually("said so, once", LOCAL, async || said() == nth + 1).await;
    }
    mounted.remove("tls.key");
    eventually("said so of a file that is gone", LOCAL, async || said() == 4).await;
    assert!(!identity.has_changed().expect("watched"));

    mounted.change(&[("tls.crt", &certificate), ("tls.key", &key)]);
    identity.changed().await.expect("the new pair");
    assert_eq!(logs.count("PRIVATE KEY"), 0);
}

#[tokio::test]
async fn settings_that_name_files_are_obeyed() {
    let own = Authority::new();
    let mounted = mounted(&own);
    let (certificate, key) = (mounted.path("tls.crt"), mounted.path("tls.key"));
    let world = World::with(&[&format!("--tls-certificate={certificate}"), &format!("--tls-key={key}")]);
    eventually("read", LOCAL, async || !world.unready().await.contains(&"certificate".to_owned())).await;
    assert!(Talk::connect(world.serving.api, &own, None).await.is_ok());
    assert!(Talk::connect(world.serving.api, &world.own, None).await.is_err(), "not the other half's");
}
