//! Connections that are opened, held, and closed together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::crowd::CrowdArgs;
use super::line::{Line, Target};
use super::ramp::{Ramp, RampArgs, Turn};
use super::score::Score;
use super::session::Session;
use crate::protocol::UserId;

/// For the end: all closes sent and answered.
const LEAVE_BOUND: Duration = Duration::from_secs(10);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) score: Score,
    /// The end of the run.
    pub(super) stop: CancellationToken,
}

impl Shared {
    /// Opens a connection and counts it; none where that failed, or the run ends.
    pub(super) async fn open(&self, number: usize, user: &UserId) -> Option<Line> {
        let begun = Instant::now();
        match self.stop.run_until_cancelled(self.target.open(number, user)).await? {
            Ok(line) => {
                self.score.opened(begun);
                Some(line)
            }
            Err(error) => {
                self.score.failed(&error);
                None
            }
        }
    }

    /// Holds a connection until then. None where the other side closed it, which is counted.
    pub(super) async fn hold(&self, mut line: Line, until: &CancellationToken) -> Option<Line> {
        match until.run_until_cancelled(line.listen(|_| {})).await {
            None => Some(line),
            Some(code) => {
                self.score.closed(code);
                line.see_off(Instant::now() + LEAVE_BOUND).await;
                None
            }
        }
    }

    /// Closes a connection and counts it.
    pub(super) async fn leave(&self, line: Line) {
        self.score.left(line.leave().await);
    }
}

/// Held by a connection until it is open, or is known not to be.
#[derive(Debug)]
pub(super) struct Opening {
    _turn: Turn,
    _settled: mpsc::Sender<()>,
}

/// All connections of a run, each with a task of its own.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) shared: Arc<Shared>,
    tasks: TaskTracker,
    users: Vec<UserId>,
    /// Each connection's user.
    connections: Vec<u32>,
}

impl Holding {
    /// # Errors
    /// When the key cannot be read, or the ids are too long.
    pub(super) fn new(args: &CrowdArgs) -> anyhow::Result<Self> {
        let shared =
            Shared { target: args.target()?, score: Score::default(), stop: CancellationToken::new() };
        Ok(Self {
            shared: Arc::new(shared),
            tasks: TaskTracker::new(),
            users: args.all_users()?,
            connections: args.connections(),
        })
    }

    /// How many there are to be.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// The user of a connection.
    fn user(&self, number: usize) -> UserId {
        self.users[self.connections[number] as usize].clone()
    }

    /// Opens all, each in a task that `live` makes, and returns how many are open when all have dropped their [`Opening`].
    ///
    /// # Errors
    /// When none can be opened, a signal came, or standard output cannot be written.
    pub(super) async fn open<T>(
        &self,
        session: &mut Session,
        ramp: RampArgs,
        live: impl Fn(usize, UserId, Opening) -> T,
    ) -> anyhow::Result<u64>
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let score = &self.shared.score;
        let settled = || score.look(|counts| counts.opened + counts.failed.total());
        let opening = self.open_all(ramp.start(), live);
        if session.part("opening", score, self.len() as u64, settled, opening).await?.is_none() {
            bail!("ended before all connections were open");
        }
        match score.look(|counts| counts.open) {
            0 => bail!("no connection could be opened; failures: {}", score.counts().failed.words()),
            open => Ok(open),
        }
    }

    /// Gives each connection its turn.
    async fn open_all<T>(&self, mut ramp: Ramp, live: impl Fn(usize, UserId, Opening) -> T)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let (settled, mut all) = mpsc::channel(1);
        for number in 0..self.len() {
            let opening = Opening { _turn: ramp.turn().await, _settled: settled.clone() };
            self.tasks.spawn(live(number, self.user(number), opening));
        }
        drop(settled);
        // Nothing is sent: it ends with the last sender.
        let _ = all.recv().await;
    }

    /// Ends the run and waits for all closes. Those that are not through within ten seconds show as still open.
    pub(super) async fn end(&self) {
        self.shared.stop.cancel();
        self.tasks.close();
        let _ = timeout(LEAVE_BOUND, self.tasks.wait()).await;
    }
}
