//! What is on the terminal, and what keys do to it.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use time::OffsetDateTime;

use super::cells::{BAR, COLUMNS, row, sums};
use crate::cli::text::{Side, printable};
use crate::fleet::{Order, Pod, State, View};

/// Columns that are left out where the terminal is too narrow, the first one first: version, node, bar, users, Redis, age,
/// queue, messages, state, connections. The name stays.
const LEFT_OUT: [usize; COLUMNS.len() - 1] = [10, 1, BAR, 4, 8, 9, 6, 5, 7, 2];

/// Columns between two columns.
const GAP: u16 = 2;

/// The last view, and how it is looked at.
#[derive(Debug)]
pub(super) struct Screen {
    view: View,
    /// Since when nothing can be read, and why.
    trouble: Option<(OffsetDateTime, String)>,
    order: Order,
    /// Pods that are scrolled past.
    past: usize,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressed {
    Leave,
    Stay,
}

impl Screen {
    pub(super) fn new(view: View) -> Self {
        Self { view, trouble: None, order: Order::default(), past: 0 }
    }

    /// A reading succeeded.
    pub(super) fn show(&mut self, mut view: View) {
        view.sort(self.order);
        self.past = self.past.min(view.pods.len().saturating_sub(1));
        self.view = view;
        self.trouble = None;
    }

    /// A reading failed: what was shown stays.
    pub(super) fn fail(&mut self, error: &str, now: OffsetDateTime) {
        let since = self.trouble.take().map_or(now, |(since, _)| since);
        self.trouble = Some((since, printable(error)));
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Pressed {
        if key.kind == KeyEventKind::Release {
            return Pressed::Stay;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Pressed::Leave,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Pressed::Leave,
            KeyCode::Char('s') => {
                self.order = self.order.next();
                self.view.sort(self.order);
            }
            KeyCode::Up => self.past = self.past.saturating_sub(1),
            KeyCode::Down => self.past = (self.past + 1).min(self.view.pods.len().saturating_sub(1)),
            _ => {}
        }
        Pressed::Stay
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let trouble = u16::from(self.trouble.is_some());
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(trouble),
            Constraint::Fill(1),
            Constraint::Length(1),
        ]);
        let [top, warning, middle, bottom] = areas.areas(frame.area());
        frame.render_widget(Line::styled(sums(&self.view.total), Modifier::BOLD), top);
        if let Some((since, error)) = &self.trouble {
            let (hour, minute, second) = since.to_hms();
            let text = format!("unreachable since {hour:02}:{minute:02}:{second:02} UTC: {error}");
            frame.render_widget(Line::styled(text, Color::Red), warning);
        }
        let rows: Vec<_> = self.view.pods.iter().map(|pod| (row(pod), look(pod))).collect();
        let widths = widths(&rows);
        let shown = fitting(&widths, middle.width);
        let header = Row::new(shown.iter().map(|column| cell(*column, COLUMNS[*column].0)));
        let lines = rows.iter().skip(self.past).map(|(cells, style)| {
            Row::new(shown.iter().map(|column| cell(*column, &cells[*column]))).style(*style)
        });
        let constraints = shown.iter().map(|column| Constraint::Length(widths[*column]));
        frame.render_widget(
            Table::new(lines, constraints).header(header.style(Modifier::REVERSED)).column_spacing(GAP),
            middle,
        );
        let help = format!("{}   q quit   s sort ({})   ↑↓ scroll", self.view.at, self.order.as_str());
        frame.render_widget(Paragraph::new(help).style(Modifier::DIM), bottom);
    }
}

fn cell(column: usize, text: &str) -> Cell<'_> {
    match COLUMNS[column].1 {
        Side::Left => Cell::from(text),
        Side::Right => Cell::from(Text::from(text).alignment(Alignment::Right)),
    }
}

/// The width of each column, in terminal columns.
fn widths(rows: &[([String; COLUMNS.len()], Style)]) -> [u16; COLUMNS.len()] {
    std::array::from_fn(|column| {
        let cells = rows.iter().map(|(cells, _)| cells[column].as_str()).chain([COLUMNS[column].0]);
        let longest = cells.map(|cell| Text::from(cell).width()).max().unwrap_or(0);
        u16::try_from(longest).unwrap_or(u16::MAX)
    })
}

/// The columns that have room.
fn fitting(widths: &[u16], room: u16) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..widths.len()).collect();
    for column in LEFT_OUT {
        let taken: usize = shown.iter().map(|column| usize::from(widths[*column]) + usize::from(GAP)).sum();
        if taken <= usize::from(room) + usize::from(GAP) {
            break;
        }
        shown.retain(|shown| *shown != column);
    }
    shown
}

/// How a pod's line looks: what needs a look stands out, what is old steps back.
fn look(pod: &Pod) -> Style {
    match pod.state {
        State::Ready => Style::new(),
        State::Starting | State::Draining => Style::new().fg(Color::Yellow),
        State::Full | State::Degraded | State::Unreachable => Style::new().fg(Color::Red),
        State::Stale => Style::new().add_modifier(Modifier::DIM),
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
