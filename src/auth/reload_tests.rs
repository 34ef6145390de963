use super::*;
use crate::auth::test_support::{now, token_by};
use crate::auth::{TokenError, Verifier};
use crate::config::{AuthConfig, KeyMaterial, Secret};
use std::fs;
use std::io;
use std::path::Path;
use tokio::sync::mpsc;

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

/// Reports each look to the test, when it is over.
struct Looks<R>(R, mpsc::Sender<tokio::time::Instant>);

impl<R: Reload> Reload for Looks<R> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn reload(&self) -> Reloaded {
        let reloaded = self.0.reload();
        let _ = self.1.try_send(tokio::time::Instant::now());
        reloaded
    }
}

/// Two looks: the second one began after this was called.
async fn look(looks: &mut mpsc::Receiver<tokio::time::Instant>) -> [tokio::time::Instant; 2] {
    while looks.try_recv().is_ok() {}
    [looks.recv().await.expect("a look"), looks.recv().await.expect("a look")]
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn watching_logs_one_line_a_change_and_no_key() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    fs::write(&file, "first").expect("written");
    let (sender, mut looks) = mpsc::channel(100);
    let stop = CancellationToken::new();
    let watched = Arc::new(Looks(verifier(&file), sender));
    let every = Duration::from_secs(10);
    let task = tokio::spawn(watch(Arc::clone(&watched), every, stop.clone()));

    let [first, second] = look(&mut looks).await;
    assert!(second - first >= every && second - first < 2 * every, "{:?}", second - first);
    assert_eq!(log.0.lock().len(), 0);
    fs::write(&file, "second").expect("written");
    look(&mut looks).await;
    look(&mut looks).await;
    assert!(passes(&watched.0, "second"));
    fs::write(&file, "-----BEGIN PUBLIC KEY-----").expect("written");
    look(&mut looks).await;
    look(&mut looks).await;
    assert!(passes(&watched.0, "second"));
    stop.cancel();
    task.await.expect("ends without a panic");

    let text = String::from_utf8(log.0.lock().clone()).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(" INFO ") && lines[0].contains("token keys"), "{text}");
    assert!(lines[1].contains(" WARN ") && lines[1].contains("JWT_SECRET_KEY"), "{text}");
    assert!(!text.contains("second") && !text.contains("BEGIN"), "{text}");
}
