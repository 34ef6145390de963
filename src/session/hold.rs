use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::Envelope;

/// How a connection that resumes stands while it has not caught up.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// What arrived since the read began, or since the link came back.
    pub(super) kept: VecDeque<Arc<Envelope>>,
    stage: Stage,
    /// Some of what arrived is not in `kept`: it is to be read.
    missed: bool,
    /// The session knows that a read is due. It may not begin it yet, for one is under way that began before.
    told: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The link is cut: what is read now may not be all.
    #[default]
    Cut,
    /// To be read now.
    Due,
    /// The session reads.
    Reading,
}

/// What follows when everything has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// What was held back, then what arrives.
    Live,
    /// A further read, for not everything was held back.
    Again,
    /// Nothing, until the link is back.
    Wait,
}

impl Hold {
    /// A connection that opens by reading.
    pub(super) fn reading() -> Self {
        Self { stage: Stage::Reading, ..Self::default() }
    }

    /// A connection that has to read now.
    pub(super) fn due() -> Self {
        Self { stage: Stage::Due, ..Self::default() }
    }

    /// Whether a read is due that the session does not know of.
    pub(super) fn is_news(&self) -> bool {
        self.stage == Stage::Due && !self.told
    }

    /// The session knows.
    pub(super) fn tell(&mut self) {
        self.told = true;
    }

    /// The link is cut. Returns the bytes that were held back, and are no more: after the cut they would not follow on.
    pub(super) fn cut(&mut self) -> usize {
        self.stage = Stage::Cut;
        self.forget()
    }

    /// The link is there again: a read is due.
    pub(super) fn restored(&mut self) {
        if self.stage != Stage::Reading {
            self.stage = Stage::Due;
        }
        self.missed = true;
        self.told = false;
    }

    /// There is no room: what was held back is read instead. Returns its bytes.
    pub(super) fn miss(&mut self) -> usize {
        self.missed = true;
        self.forget()
    }

    /// A read begins: what arrives from now on, and only that, is not sure to be in it.
    pub(super) fn begin_read(&mut self) {
        if self.stage != Stage::Cut {
            self.stage = Stage::Reading;
            self.missed = false;
        }
    }

    /// A read has come to the end of history.
    pub(super) fn follow(&self) -> Follow {
        match self.stage {
            Stage::Cut => Follow::Wait,
            Stage::Reading if !self.missed => Follow::Live,
            Stage::Due | Stage::Reading => Follow::Again,
        }
    }

    fn forget(&mut self) -> usize {
        std::mem::take(&mut self.kept).iter().map(|envelope| envelope.len()).sum()
    }
}
