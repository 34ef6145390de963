//! How commands show things to a person: tables, sizes, times.

/// At which side of its column a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The lines of a table: columns two spaces apart, nothing behind the last one.
pub(super) fn table<const N: usize>(header: [(&str, Side); N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str()).chain([header[column].0]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let names = header.map(|(name, _)| name.to_owned());
    for row in std::iter::once(&names).chain(rows) {
        let cells = row.iter().zip(widths).zip(header).map(|((cell, width), (_, side))| match side {
            Side::Left => format!("{cell:width$}"),
            Side::Right => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A text of somebody else's, with nothing in it that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What may be unknown.
pub(super) fn or_dash<T>(known: Option<T>, shown: impl FnOnce(T) -> String) -> String {
    known.map_or_else(|| "-".to_owned(), shown)
}

/// A size, with three digits at least where it is not whole.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1_024.0;
    let mut unit = 0;
    // What would be rounded up to 1024 is one of the next unit.
    while size >= 1_023.5 && unit + 1 < UNITS.len() {
        size /= 1_024.0;
        unit += 1;
    }
    let digits = usize::from(size < 9.95);
    format!("{size:.digits$} {}", UNITS[unit])
}

/// A number that may be small or large, such as a rate.
pub(super) fn number(number: f64) -> String {
    let digits = usize::from(number < 9.95);
    format!("{number:.digits$}")
}

/// A length of time in seconds, in the unit that a person would choose.
pub(super) fn span(seconds: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min")];
    // Twice as much as one of the unit: "90 s" says more than "1 min".
    match UNITS.iter().find(|(size, _)| seconds >= 2.0 * size) {
        Some((size, unit)) => format!("{:.0} {unit}", (seconds / size).floor()),
        None => format!("{} s", number(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let header = [("POD", Side::Left), ("N", Side::Right), ("STATE", Side::Left)];
        let rows = [["größe", "7", "ready"], ["a", "1234", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(header, &rows), "POD       N  STATE\ngröße     7  ready\na      1234\n");
    }

    #[test]
    fn a_terminal_obeys_nothing_that_is_shown() {
        assert_eq!(printable("ws\u{1b}[2J-1\n\u{9b}x"), "ws [2J-1  x");
    }

    #[test]
    fn sizes_rates_and_times_are_short() {
        for (size, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (10_189, "10 KiB"),
            (1_048_000, "1023 KiB"),
            (1_048_500, "1.0 MiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
        assert_eq!([0.0, 0.5, 9.9, 10.4, 1234.5].map(number), ["0.0", "0.5", "9.9", "10", "1234"]);
        for (seconds, expected) in [
            (0.0, "0.0 s"),
            (1.3, "1.3 s"),
            (119.0, "119 s"),
            (120.0, "2 min"),
            (7_199.0, "119 min"),
            (7_200.0, "2 h"),
            (200_000.0, "2 d"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
