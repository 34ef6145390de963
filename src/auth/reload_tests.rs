use super::*;
use crate::auth::test_support::{now, token_by};
use crate::auth::{TokenError, Verifier};
use crate::config::{AuthConfig, KeyMaterial, Secret};
use std::fs;
use std::path::Path;

fn verifier(file: &Path) -> Verifier {
    let keys = KeyMaterial { current: Some(Secret::File(file.to_owned())), ..KeyMaterial::default() };
    Verifier::new(&AuthConfig { keys, ..AuthConfig::default() }).expect("a good key")
}

fn passes(verifier: &Verifier, key: &str) -> bool {
    match verifier.verify_at(&token_by(key, None), now()) {
        Ok(_) => true,
        Err(TokenError::Signature) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_changed_key_is_taken_over_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    fs::write(&file, "first").expect("written");
    let verifier = verifier(&file);
    assert!(matches!(verifier.reload(), Reloaded::Unchanged));
    fs::write(&file, "second\n").expect("written");
    assert!(passes(&verifier, "first"), "nothing changes before the look");
    assert!(matches!(verifier.reload(), Reloaded::Swapped));
    assert!(matches!(verifier.reload(), Reloaded::Unchanged));
    assert!(passes(&verifier, "second") && !passes(&verifier, "first"));
}

#[test]
fn a_bad_or_missing_file_keeps_the_old_key_and_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    fs::write(&file, "first").expect("written");
    let verifier = verifier(&file);
    fs::write(&file, "").expect("written");
    assert!(matches!(verifier.reload(), Reloaded::Kept(KeyError::Invalid { .. })));
    assert!(matches!(verifier.reload(), Reloaded::Unchanged));
    fs::remove_file(&file).expect("removed");
    assert!(matches!(verifier.reload(), Reloaded::Kept(KeyError::Unreadable(_))));
    assert!(matches!(verifier.reload(), Reloaded::Unchanged));
    assert!(passes(&verifier, "first"));
    fs::write(&file, [0xff, 0xfe]).expect("written");
    assert!(matches!(verifier.reload(), Reloaded::Kept(KeyError::Unreadable(_))));
    fs::write(&file, "third").expect("written");
    assert!(matches!(verifier.reload(), Reloaded::Swapped));
    assert!(passes(&verifier, "third"));
}

#[test]
fn a_kubelets_swap_of_the_folder_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (data, key) in [("..1", "first"), ("..2", "second")] {
        fs::create_dir(at(data)).expect("a folder");
        fs::write(at(data).join("key"), key).expect("written");
    }
    let link = |from: &str, to: &str| std::os::unix::fs::symlink(from, at(to)).expect("a link");
    link("..1", "..data");
    link("..data/key", "key");
    let verifier = verifier(&at("key"));
    link("..2", "..data_tmp");
    fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
    assert!(matches!(verifier.reload(), Reloaded::Swapped));
    assert!(passes(&verifier, "second"));
}

#[test]
fn keys_come_and_go_in_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str| fs::write(folder.path().join(name), format!("key of {name}")).expect("written");
    put("a");
    let keys = KeyMaterial { directory: Some(folder.path().to_owned()), ..KeyMaterial::default() };
    let verifier = Verifier::new(&AuthConfig { keys, ..AuthConfig::default() }).expect("a good key");
    let passes =
        |name: &str| verifier.verify_at(&token_by(&format!("key of {name}"), Some(name)), now()).map(|_| ());
    put("b");
    assert!(matches!(verifier.reload(), Reloaded::Swapped));
    assert_eq!((passes("a"), passes("b")), (Ok(()), Ok(())));
    fs::remove_file(folder.path().join("a")).expect("removed");
    assert!(matches!(verifier.reload(), Reloaded::Swapped));
    assert_eq!((passes("a"), passes("b")), (Err(TokenError::UnknownKey), Ok(())));
    fs::remove_file(folder.path().join("b")).expect("removed");
    assert!(matches!(verifier.reload(), Reloaded::Kept(KeyError::Missing(_))));
    assert_eq!(passes("b"), Ok(()));
}

/// Reports each look to the test.
struct Looks(tokio::sync::mpsc::Sender<tokio::time::Instant>);

impl Reload for Looks {
    fn name(&self) -> &'static str {
        "looks"
    }

    fn reload(&self) -> Reloaded {
        let _ = self.0.try_send(tokio::time::Instant::now());
        Reloaded::Unchanged
    }
}

#[tokio::test(start_paused = true)]
async fn looks_at_every_interval_until_told_to_stop() {
    let (sender, mut looks) = tokio::sync::mpsc::channel(100);
    let stop = CancellationToken::new();
    let every = Duration::from_secs(10);
    let task = tokio::spawn(watch(Arc::new(Looks(sender)), every, stop.clone()));
    let first = looks.recv().await.expect("a look");
    let second = looks.recv().await.expect("a look");
    assert!(second - first >= every && second - first < 2 * every, "{:?}", second - first);
    stop.cancel();
    task.await.expect("ends without a panic");
    while looks.recv().await.is_some() {}
}
