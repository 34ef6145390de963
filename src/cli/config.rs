//! The `config` command: what is in force, and where it came from.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use super::text::printable;
use crate::config::{Loaded, Origin};

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Only say whether the configuration is valid.
    #[arg(long)]
    check: bool,
}

/// Longest value that others are aligned with, in characters.
const WIDEST_VALUE: usize = 40;

/// Prints the settings in force, one a line with value and source, or with `--check` one line only.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &ConfigArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let text = if args.check { "configuration is valid\n".to_owned() } else { table(&loaded.origins) };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn table(origins: &[Origin]) -> String {
    let values: Vec<String> = origins.iter().map(shown).collect();
    let name_width = origins.iter().map(|origin| origin.setting.name.len()).max().unwrap_or(0);
    let value_width = values.iter().map(|value| value.chars().count()).max().unwrap_or(0).min(WIDEST_VALUE);
    let mut text = String::new();
    for (origin, value) in origins.iter().zip(values) {
        let name = origin.setting.name;
        let _ = writeln!(text, "{name:name_width$}  {value:value_width$}  {}", origin.source);
    }
    text
}

/// The value on one line.
fn shown(origin: &Origin) -> String {
    printable(origin.value.as_deref().unwrap_or("(unset)").trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SETTINGS, Sources};

    fn printed(sources: &Sources) -> String {
        table(&Config::load(sources).expect("sound").origins)
    }

    #[test]
    fn shows_every_setting_once_with_its_source() {
        let text = printed(&Sources::default().with_flag("port", " 81 ").with_yaml("a.yaml", "echo: no"));
        assert_eq!(text.lines().count(), SETTINGS.len());
        let line = |name: &str| {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.expect("a line").split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("PORT"), "PORT 81 flag --port");
        assert_eq!(line("ECHO"), "ECHO no a.yaml: echo");
        assert_eq!(line("MAX_CONNECTIONS"), "MAX_CONNECTIONS 10000 default");
        assert_eq!(line("REDIS_URL"), "REDIS_URL (unset) default");
        assert_eq!(line("LOG_FORMAT"), "LOG_FORMAT text default");
    }

    #[test]
    fn columns_are_aligned() {
        let text = printed(&Sources::default().with_flag("jwt-issuer", "a\u{e9}"));
        let columns: Vec<_> =
            text.lines().map(|line| line.rfind("  ").map(|at| line[..at].chars().count())).collect();
        assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let text = printed(
            &Sources::default()
                .with_flag("allowed-origins", "[\"https://a.example\",\n\"https://b.example\"]"),
        );
        assert_eq!(text.lines().count(), SETTINGS.len());
    }

    #[test]
    fn hides_secrets() {
        let text = printed(
            &Sources::default().with_flag("api-key", "hush-hush").with_flag("redis-url", "redis://:hush@r"),
        );
        assert!(!text.contains("hush"), "{text}");
        assert_eq!(text.matches("(hidden)").count(), 2);
    }
}
