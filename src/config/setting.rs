use super::table::SETTINGS;

/// What every variable of the environment and of `.env` begins with.
pub const PREFIX: &str = "WEBSOCKET_SERVICE_";

/// One setting, as declared in [`SETTINGS`].
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `MAX_CONNECTIONS`; the other spellings follow from it.
    pub name: &'static str,
    /// The concern it belongs to, a heading of the documentation and of `--help`.
    pub group: Group,
    /// What a value may be, with its unit and bounds.
    pub kind: Kind,
    /// What holds when nobody gives a value.
    pub initial: Initial,
    /// What it does, for an operator.
    pub doc: &'static str,
}

/// What holds when nobody gives a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// This value, spelled as a user would.
    Default(&'static str),
    /// Nothing; an empty text means the same. The text is an example for the documentation.
    Unset(&'static str),
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text of 1 to this many bytes without control characters.
    Text(usize),
    /// One of these names, in any case.
    Choice(fn() -> Vec<&'static str>),
    /// A whole number within these bounds.
    Number(u64, u64),
    /// A whole number up to this bound; 0 is no limit.
    Limit(u64),
    /// Bytes within these bounds, plain or with KiB, MiB or GiB.
    Bytes(u64, u64),
    /// Seconds, decimals allowed, within these bounds, which are in milliseconds.
    Seconds(u64, u64),
    /// Whole milliseconds up to this bound.
    Milliseconds(u64),
    /// On or off.
    Switch,
    /// An IP address.
    Address,
    /// A list of browser origins, or `*`.
    Origins,
    /// A list of IP addresses and networks.
    Networks,
    /// A list of key sets, each a URL or an issuer and its URL.
    KeySets,
    /// A list of hosts with ports.
    Servers,
    /// A folder that can be read.
    Folder,
    /// A secret, given in place or by a file.
    Secret,
}

/// A concern: a heading of the documentation and of `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described by its title")]
pub enum Group {
    Place,
    Server,
    Limits,
    Tokens,
    Session,
    Outbox,
    Backplane,
    History,
    Drain,
    Logs,
}

impl Group {
    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Place => "Where it runs",
            Self::Server => "Ports, origins and refusals",
            Self::Limits => "How many connections",
            Self::Tokens => "Tokens",
            Self::Session => "One connection",
            Self::Outbox => "Outgoing messages",
            Self::Backplane => "Redis and publishing",
            Self::History => "History",
            Self::Drain => "Going away",
            Self::Logs => "Logs",
        }
    }
}

/// Which of a setting's two forms a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The value itself.
    InPlace,
    /// The file that holds it (`…_FILE`).
    File,
}

impl Setting {
    /// Whether its value must never be shown, and may be given as a file.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// Whether it may be left without a value.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self.initial, Initial::Unset(_))
    }

    /// Its forms: two for a secret, one for the others.
    #[must_use]
    pub fn forms(&self) -> &'static [Form] {
        if self.is_secret() { &[Form::InPlace, Form::File] } else { &[Form::InPlace] }
    }

    /// `MAX_CONNECTIONS`, or with `_FILE`.
    #[must_use]
    pub fn key(&self, form: Form) -> String {
        match form {
            Form::InPlace => self.name.to_owned(),
            Form::File => format!("{}_FILE", self.name),
        }
    }

    /// The name and form that a key in capitals, without the prefix, stands for.
    #[must_use]
    pub fn find(key: &str) -> Option<(&'static Self, Form)> {
        let by_name = |name: &str| SETTINGS.iter().find(|setting| setting.name == name);
        if let Some(setting) = by_name(key) {
            return Some((setting, Form::InPlace));
        }
        let setting = by_name(key.strip_suffix("_FILE")?)?;
        setting.is_secret().then_some((setting, Form::File))
    }

    /// The known key that is most like an unknown one. A key that lacks only its first words (`CHANNEL_PREFIX`)
    /// is nearer than any that differs in letters.
    #[must_use]
    pub fn nearest(key: &str) -> String {
        let key = key.to_ascii_uppercase();
        // Only secrets may be given by a file.
        if let Some((setting, form)) = key.strip_suffix("_FILE").and_then(Self::find) {
            return setting.key(form);
        }
        let likeness = |known: &str| {
            let missing_words = key.contains('_') && known.ends_with(&format!("_{key}"));
            if missing_words { 1.0 } else { strsim::normalized_damerau_levenshtein(known, &key) }
        };
        let known = SETTINGS.iter().flat_map(|s| s.forms().iter().map(|form| s.key(*form)));
        known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
    }

    /// What a value may be, for the documentation and for the advice in a fault.
    #[must_use]
    pub fn values(&self) -> String {
        match self.kind {
            Kind::Text(max) => format!("text of at most {max} bytes"),
            Kind::Choice(names) => {
                names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            }
            Kind::Number(min, max) => format!("whole number, {min} to {max}"),
            Kind::Limit(max) => format!("whole number up to {max}; 0 is no limit"),
            Kind::Bytes(min, max) => {
                format!("bytes, {} to {}, plain or as `64KiB`, `1MiB`", bytes(min), bytes(max))
            }
            Kind::Seconds(min, max) => {
                format!("seconds, {} to {}, decimals allowed", seconds(min), seconds(max))
            }
            Kind::Milliseconds(max) => format!("whole milliseconds, 0 to {max}"),
            Kind::Switch => "`true` or `false` (also 1, 0, yes, no, on, off)".to_owned(),
            Kind::Address => "IP address".to_owned(),
            Kind::Origins => "`*`, or origins (`https://app.example.com`) separated by commas, or a list \
                              (JSON; YAML in the file); `[]` is none"
                .to_owned(),
            Kind::Networks => "IP addresses and networks (`10.0.0.0/8`) separated by commas".to_owned(),
            Kind::KeySets => {
                "a URL (`https://…`), or `<issuer>=https://…` for one issuer's tokens, several separated by \
                              commas"
                    .to_owned()
            }
            Kind::Servers => {
                "hosts with ports (`sentinel-0:26379`, `[::1]:26379`) separated by commas, or a list (JSON; YAML in \
                  the file)"
                    .to_owned()
            }
            Kind::Folder => "path of a folder".to_owned(),
            Kind::Secret => "secret; or the path of its file in the `_FILE` form".to_owned(),
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    match milliseconds % 1000 {
        0 => (milliseconds / 1000).to_string(),
        rest => format!("{}.{rest:03}", milliseconds / 1000),
    }
}

fn bytes(count: u64) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| count > 0 && count.is_multiple_of(1 << shift))
        .map_or_else(|| count.to_string(), |(shift, unit)| format!("{}{unit}", count >> shift))
}
