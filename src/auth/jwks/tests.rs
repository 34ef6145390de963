use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;

use super::download::Document;
use super::*;
use crate::auth::test_support::{Pair, config, jwk, pairs, set_of, signed, user};
use crate::auth::{TokenError, Verifier};
use crate::config::Choice;
use TokenError::{NoKeys, UnknownKey};

const ALG: TokenAlgorithm = TokenAlgorithm::Es256;

/// An issuer that does what the test says.
struct Issuer {
    /// A body and its age in seconds; none while it fails.
    answer: Mutex<Option<(Vec<u8>, Option<u64>)>>,
    takes: Mutex<Duration>,
    fetches: AtomicUsize,
}

struct Asks(Arc<Issuer>);

#[async_trait]
impl Origin for Asks {
    async fn get(&self) -> Result<Document, KeySetError> {
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
        let takes = *self.0.takes.lock();
        sleep(takes).await;
        match &*self.0.answer.lock() {
            Some((body, max_age)) => {
                Ok(Document { body: body.clone().into(), max_age: max_age.map(Duration::from_secs) })
            }
            None => Err(KeySetError::Status(500)),
        }
    }
}

/// Counts what is told, and what of it is news.
#[derive(Default)]
struct Told(Mutex<Vec<(bool, bool)>>);

impl FetchObserver for Told {
    fn fetched(&self, fetched: &Fetched<'_>) {
        assert_eq!(fetched.url, "https://id.example/jwks");
        self.0.lock().push((fetched.outcome.is_ok(), fetched.is_news));
    }
}

struct World {
    issuer: Arc<Issuer>,
    set: Arc<KeySet>,
    verifier: Arc<Verifier>,
    told: Arc<Told>,
    stop: CancellationToken,
}

impl World {
    /// A verifier whose set is fetched by nobody yet.
    fn new(keys: &[(&Pair, &str)]) -> Self {
        let issuer = Arc::new(Issuer {
            answer: Mutex::new(Some((body(keys), None))),
            takes: Mutex::new(Duration::from_millis(100)),
            fetches: AtomicUsize::new(0),
        });
        let shown = "https://id.example/jwks".to_owned();
        let set = KeySet::from_origin(shown, Box::new(Asks(Arc::clone(&issuer))), ALG);
        let verifier = Verifier::with_sets(&config(ALG, ""), vec![(None, Arc::clone(&set))]);
        let (told, stop) = (Arc::default(), CancellationToken::new());
        Self { issuer, set, verifier: Arc::new(verifier), told, stop }
    }

    async fn kept(keys: &[(&Pair, &str)]) -> Self {
        let world = Self::new(keys);
        world.keep();
        sleep(Duration::from_secs(1)).await;
        world
    }

    fn keep(&self) {
        let observer = Arc::clone(&self.told) as Arc<dyn FetchObserver>;
        tokio::spawn(keep(Arc::clone(&self.set), observer, self.stop.clone()));
    }

    fn publishes(&self, keys: &[(&Pair, &str)]) {
        *self.issuer.answer.lock() = Some((body(keys), None));
    }

    fn fails(&self) {
        *self.issuer.answer.lock() = None;
    }

    fn fetches(&self) -> usize {
        self.issuer.fetches.load(Ordering::Relaxed)
    }

    async fn takes(&self, token: &str) -> Result<(), TokenError> {
        self.verifier.verify_fresh(token).await.map(|identity| assert_eq!(identity.user, user("alice")))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn body(keys: &[(&Pair, &str)]) -> Vec<u8> {
    set_of(&keys.iter().map(|(pair, kid)| jwk(ALG, pair, Some(kid))).collect::<Vec<_>>())
}

fn token(pair: &Pair, kid: &str) -> String {
    signed(ALG, pair, Some(kid), None)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_first_tokens_wait_for_the_first_fetch() {
    let [a, b] = pairs(ALG);
    let world = World::new(&[(&a, "a")]);
    assert_eq!(world.verifier.verify(&token(&a, "a")), Err(NoKeys));
    assert!(!world.verifier.has_keys());
    world.keep();
    assert_eq!(world.takes(&token(&a, "a")).await, Ok(()));
    assert_eq!(world.takes(&signed(ALG, &a, None, None)).await, Ok(()), "a token without a kid is tried");
    assert_eq!(world.takes(&signed(ALG, &b, None, None)).await, Err(TokenError::Signature));
    assert_eq!(world.takes(&token(&b, "a")).await, Err(TokenError::Signature));
    assert!(world.verifier.has_keys());
    assert_eq!(world.fetches(), 1, "for all of that");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_new_is_fetched_once_for_all_who_show_it() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    world.publishes(&[(&a, "a"), (&b, "b")]);
    let mut all = JoinSet::new();
    for _ in 0..200 {
        let (verifier, token) = (Arc::clone(&world.verifier), token(&b, "b"));
        all.spawn(async move { verifier.verify_fresh(&token).await.is_ok() });
    }
    assert!(all.join_all().await.into_iter().all(|taken| taken));
    assert_eq!(world.fetches(), 2);
    // Taken out again: until the next fetch it counts.
    world.publishes(&[(&b, "b")]);
    assert_eq!(world.takes(&token(&a, "a")).await, Ok(()));
    sleep(keep_at_most()).await;
    assert_eq!(world.takes(&token(&a, "a")).await, Err(UnknownKey));
}

/// Longer than keys are kept where their issuer does not say.
fn keep_at_most() -> Duration {
    Duration::from_secs(601)
}

#[tokio::test(start_paused = true)]
async fn made_up_key_ids_cause_six_fetches_a_minute_and_hold_up_nobody_who_has_a_key() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    let (before, good) = (world.fetches(), token(&a, "a"));
    for i in 0..600 {
        let stranger = token(&b, &format!("made-up-{i}"));
        let (verifier, asked) = (Arc::clone(&world.verifier), Instant::now());
        tokio::spawn(async move { assert_eq!(verifier.verify_fresh(&stranger).await, Err(UnknownKey)) });
        assert_eq!(world.takes(&good).await, Ok(()));
        assert_eq!(asked.elapsed(), Duration::ZERO, "no wait with a known key");
        advance(SECOND / 10).await;
    }
    assert!(world.fetches() - before <= 7, "{} fetches in a minute", world.fetches() - before);
    assert_eq!(world.takes(&good).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_kid_that_is_nobody_s_causes_a_fetch_each_half_minute() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    let stranger = token(&b, "nobody-s");
    for _ in 0..120 {
        assert_eq!(world.takes(&stranger).await, Err(UnknownKey));
        sleep(SECOND / 2).await;
    }
    assert!((2..=4).contains(&world.fetches()), "{} fetches", world.fetches());
    // Another one is asked for at once.
    world.publishes(&[(&a, "a"), (&b, "b")]);
    sleep(HOLD_OFF).await;
    assert_eq!(world.takes(&token(&b, "b")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_new_key_that_comes_just_after_one_that_was_asked_for_is_there_ten_seconds_later() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    assert_eq!(world.takes(&token(&b, "made-up")).await, Err(UnknownKey));
    assert_eq!(world.fetches(), 2, "the fetch at the start does not count");
    world.publishes(&[(&b, "b")]);
    let asked = Instant::now();
    assert_eq!(world.takes(&token(&b, "b")).await, Err(UnknownKey));
    assert_eq!(asked.elapsed(), Duration::ZERO, "refused without a wait");
    sleep(HOLD_OFF + SECOND).await;
    assert_eq!(world.verifier.verify(&token(&b, "b")).map(|_| ()), Ok(()), "fetched by then");
    assert_eq!(world.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_their_issuer_by_a_day_and_a_token_that_may_be_good_is_not_called_bad() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    let (good, new) = (token(&a, "a"), token(&b, "b"));
    world.fails();
    sleep(keep_at_most()).await;
    assert_eq!(world.takes(&good).await, Ok(()));
    for _ in 0..2 {
        assert_eq!(world.takes(&new).await, Err(NoKeys), "asked for at once, and then not again so soon");
    }
    sleep(KEPT_FOR - keep_at_most() - SECOND * 20).await;
    assert_eq!(world.takes(&good).await, Ok(()));
    sleep(SECOND * 30).await;
    assert_eq!(world.takes(&good).await, Err(NoKeys));
    assert!(world.verifier.has_keys(), "a pod does not leave for that");
    let day = u64::try_from(world.fetches()).expect("few");
    assert!((1_000..6_000).contains(&day), "{day} attempts in a day");
    let told = world.told.0.lock().clone();
    assert_eq!(told.iter().filter(|(_, news)| *news).collect::<Vec<_>>(), [&(true, true), &(false, true)]);

    world.publishes(&[(&b, "b")]);
    sleep(SECOND * 61).await;
    assert_eq!((world.takes(&new).await, world.takes(&good).await), (Ok(()), Err(UnknownKey)));
    assert_eq!(world.told.0.lock().iter().filter(|(_, news)| *news).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_kid_that_is_nobody_s_stays_so_while_its_issuer_is_away() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    assert_eq!(world.takes(&token(&b, "nobody-s")).await, Err(UnknownKey));
    world.fails();
    sleep(HOLD_OFF).await;
    assert_eq!(world.takes(&token(&b, "new")).await, Err(NoKeys));
    assert_eq!(world.takes(&token(&b, "nobody-s")).await, Err(UnknownKey));
    sleep(UNKNOWN_FOR).await;
    assert_eq!(world.takes(&token(&b, "nobody-s")).await, Err(NoKeys), "it may be there by now");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_is_news_when_the_keys_are_others() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    let news = async |keys: &[(&Pair, &str)]| {
        world.publishes(keys);
        world.told.0.lock().clear();
        sleep(keep_at_most()).await;
        world.told.0.lock().iter().filter(|(_, news)| *news).count()
    };
    assert_eq!(news(&[(&a, "a")]).await, 0);
    assert_eq!(news(&[(&a, "a"), (&b, "b")]).await, 1);
    assert_eq!(news(&[(&a, "a"), (&b, "b")]).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_set_without_a_key_to_use_does_not_take_the_place_of_one_that_has() {
    let [a, _] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    world.publishes(&[]);
    sleep(keep_at_most()).await;
    assert!(world.told.0.lock().iter().any(|(ok, _)| !ok));
    assert_eq!(world.takes(&token(&a, "a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn sets_are_fetched_ahead_of_the_age_that_their_issuer_gives_within_bounds() {
    let [a, _] = pairs(ALG);
    for (max_age, least, most) in
        [(None, 450, 571), (Some(0), 45, 58), (Some(300), 225, 286), (Some(u64::MAX / 2), 2_700, 3_421)]
    {
        let world = World::new(&[]);
        *world.issuer.answer.lock() = Some((body(&[(&a, "a")]), max_age));
        world.keep();
        sleep(Duration::from_secs(least)).await;
        assert_eq!(world.fetches(), 1, "{max_age:?}");
        sleep(Duration::from_secs(most - least)).await;
        assert_eq!(world.fetches(), 2, "{max_age:?}");
        assert!(world.set.age() <= Duration::from_secs(most - least));
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_is_as_old_as_its_last_fetch_or_as_it_has_been_tried() {
    let [a, _] = pairs(ALG);
    let world = World::new(&[(&a, "a")]);
    let is_about = |seconds: u64| {
        let all = [Some(world.set.age()), world.verifier.keys_age()];
        all.map(|age| age.map(|age| (age + SECOND / 2).as_secs())) == [Some(seconds); 2]
    };
    sleep(SECOND * 30).await;
    assert!(is_about(30) && !world.set.was_fetched());
    world.keep();
    sleep(SECOND).await;
    world.fails();
    sleep(SECOND * 2_999).await;
    assert!(world.set.was_fetched() && is_about(3_000), "what fails does not count");
    let configured = Verifier::new(&crate::auth::test_support::hs_config()).expect("a good key");
    assert!(configured.has_keys() && configured.keys_age().is_none());
    assert_eq!(world.set.shown(), "https://id.example/jwks");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_holds_a_token_up_for_five_seconds_and_not_all_of_them() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    *world.issuer.takes.lock() = Duration::from_secs(3600);
    let began = Instant::now();
    let mut all = JoinSet::new();
    for i in 0..MAX_WAITING + 100 {
        let (verifier, token) = (Arc::clone(&world.verifier), token(&b, &format!("made-up-{i}")));
        all.spawn(
            async move { (verifier.verify_fresh(&token).await.expect_err("unknown"), began.elapsed()) },
        );
    }
    let told = all.join_all().await;
    let at_once = told.iter().filter(|(error, took)| *error == UnknownKey && took.is_zero()).count();
    let waited = told.iter().filter(|(error, took)| *error == NoKeys && *took == WAIT).count();
    assert_eq!((at_once, waited), (100, MAX_WAITING));
    assert_eq!(world.takes(&token(&a, "a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn each_issuer_s_tokens_are_verified_with_its_own_set() {
    let [a, b] = pairs(ALG);
    let (first, second) = (World::kept(&[(&a, "k")]).await, World::kept(&[(&b, "k")]).await);
    let sets = vec![
        (Some("https://a.example"), Arc::clone(&first.set)),
        (Some("https://b.example"), Arc::clone(&second.set)),
    ];
    let verifier = Verifier::with_sets(&config(ALG, ""), sets);
    let check = async |pair, kid, issuer| {
        let token = signed(ALG, pair, kid, issuer);
        verifier.verify_fresh(&token).await.map(|_| ())
    };
    let (of_a, of_b) = (Some("https://a.example"), Some("https://b.example"));
    assert_eq!(check(&a, Some("k"), of_a).await, Ok(()));
    assert_eq!(check(&b, Some("k"), of_b).await, Ok(()));
    assert_eq!(check(&b, None, of_b).await, Ok(()));
    for kid in [Some("k"), None] {
        assert_eq!(check(&b, kid, of_a).await, Err(TokenError::Signature), "b signs for a");
    }
    for iss in [None, Some(""), Some("https://c.example"), Some("https://a.example/")] {
        assert_eq!(check(&a, Some("made-up"), iss).await, Err(TokenError::Issuer), "{iss:?}");
    }
    assert_eq!((first.fetches(), second.fetches()), (1, 1), "a stranger's issuer is asked for nothing");
}

/// Serves one body for ever.
struct Serves(Vec<u8>);

#[async_trait]
impl Origin for Serves {
    async fn get(&self) -> Result<Document, KeySetError> {
        Ok(Document { body: self.0.clone().into(), max_age: None })
    }
}

#[tokio::test]
async fn every_public_algorithm_verifies_by_its_entry_and_never_by_another_s() {
    use crate::auth::test_support::{ALGORITHMS, SECRET, good_claims, now, raw_hs};
    let entries = ALGORITHMS.map(|algorithm| (algorithm, pairs(algorithm)));
    let all: Vec<_> = entries.iter().map(|(it, [ours, _])| jwk(*it, ours, Some(it.name()))).collect();
    let body = set_of(&all);
    for (algorithm, [ours, other]) in entries.iter().filter(|(it, _)| !it.is_symmetric()) {
        let set = KeySet::from_origin(String::new(), Box::new(Serves(body.clone())), *algorithm);
        set.fetch_once().await.expect("fetched");
        let verifier = Verifier::with_sets(&config(*algorithm, ""), vec![(None, set)]);
        let kid = Some(algorithm.name());
        assert!(verifier.verify(&signed(*algorithm, ours, kid, None)).is_ok(), "{algorithm:?}");
        let forged = signed(*algorithm, other, kid, None);
        assert_eq!(verifier.verify(&forged), Err(TokenError::Signature), "{algorithm:?}");
        // Everybody can sign by HMAC with what is published: the shared key there, or a public one for it.
        for key in [SECRET, &ours.public, std::str::from_utf8(&body).expect("JSON")] {
            for (alg, kid) in [
                ("HS256", "HS256"),
                ("HS256", algorithm.name()),
                (algorithm.name(), "HS256"),
                (algorithm.name(), algorithm.name()),
            ] {
                let header = serde_json::json!({ "alg": alg, "kid": kid }).to_string();
                let token = raw_hs(TokenAlgorithm::Hs256, &header, &good_claims().to_string(), key);
                let error = verifier.verify_at(&token, now()).expect_err("forged");
                assert!(
                    [TokenError::Algorithm, TokenError::Signature, UnknownKey].contains(&error),
                    "{algorithm:?} {alg} {kid} {error}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_kid_is_nobody_s_and_is_not_asked_for() {
    let [a, b] = pairs(ALG);
    let world = World::kept(&[(&a, "a")]).await;
    for kid in ["x".repeat(257), "../".repeat(1_000)] {
        assert_eq!(world.takes(&token(&b, &kid)).await, Err(UnknownKey));
    }
    assert_eq!(world.fetches(), 1);
    assert_eq!(world.takes(&token(&b, &"x".repeat(256))).await, Err(UnknownKey));
    assert_eq!(world.fetches(), 2);
    for kid in ["../../etc/passwd", "' OR 1=1 --", "", "a\u{0}", "a\n"] {
        assert_eq!(world.takes(&token(&b, kid)).await, Err(UnknownKey), "{kid:?}");
    }
}
