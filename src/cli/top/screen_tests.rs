use ratatui::Terminal;
use ratatui::backend::TestBackend;
use time::Duration;

use super::*;
use crate::cli::top::cells::tests::view;

/// What a person sees, line by line, without the spaces at their ends.
fn seen(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| screen.draw(frame)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

/// The names of the pods, from the top.
fn names(screen: &Screen) -> Vec<String> {
    let lines = seen(screen, 120, 8);
    let rows = lines[2..7].iter().filter_map(|line| line.split_whitespace().next());
    rows.map(str::to_owned).collect()
}

fn press(screen: &mut Screen, code: KeyCode) -> Pressed {
    screen.press(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn sums_pods_and_keys_are_on_the_screen() {
    let expected = [
        "4 pods, 1 draining, 2 without numbers   8712/20000 connections   4356 users   104 messages/s   3.0 KiB queued",
        "POD   NODE    CONNECTIONS              USERS  MSG/S    QUEUE  STATE        REDIS    AGE  VERSION",
        "ws-2  node-a   8700/10000  #########.   4350    104  1.5 KiB  ready        up     1.2 s  0.1.0",
        "ws-1  node-a     12/10000  #.........      6      -  1.5 KiB  draining     up     1.2 s  0.1.0",
        "9f3c  -                 -                  -      -        -  stale        -       20 s  -",
        "ws-3  -                 -                  -      -        -  unreachable  -          -  -",
        "",
        "2027-01-15T08:00:00Z   q quit   s sort (connections)   ↑↓ scroll",
    ];
    assert_eq!(seen(&Screen::new(view()), 120, 8), expected);
}

#[test]
fn a_narrow_terminal_keeps_what_matters_most() {
    let header =
        |width| seen(&Screen::new(view()), width, 8)[1].split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(header(97), "POD NODE CONNECTIONS USERS MSG/S QUEUE STATE REDIS AGE VERSION");
    assert_eq!(header(90), "POD NODE CONNECTIONS USERS MSG/S QUEUE STATE REDIS AGE");
    assert_eq!(header(60), "POD CONNECTIONS MSG/S QUEUE STATE REDIS AGE");
    assert_eq!(header(59), "POD CONNECTIONS MSG/S QUEUE STATE AGE");
    assert_eq!(header(20), "POD CONNECTIONS");
    // Too little even for a name: it is cut off, and nothing breaks.
    assert_eq!(header(2), "PO");
    assert_eq!(seen(&Screen::new(view()), 1, 1), ["2"], "the last line's first letter");
}

#[test]
fn the_last_state_stays_while_nothing_can_be_read() {
    let mut screen = Screen::new(view());
    let noon = OffsetDateTime::UNIX_EPOCH + Duration::hours(12) + Duration::seconds(5);
    screen.fail("cannot connect to Redis: refused", noon);
    screen.fail("Redis did not answer\u{1b} within 2s", noon + Duration::minutes(1));
    let lines = seen(&screen, 120, 8);
    assert_eq!(lines[1], "unreachable since 12:00:05 UTC: Redis did not answer  within 2s");
    assert!(lines[3].starts_with("ws-2"), "{lines:?}");
    screen.show(view());
    assert!(seen(&screen, 120, 8)[1].starts_with("POD"), "it is over");
}

#[test]
fn keys_sort_scroll_and_leave() {
    let mut screen = Screen::new(view());
    assert_eq!(names(&screen), ["ws-2", "ws-1", "9f3c", "ws-3"]);
    for _ in 0..3 {
        assert_eq!(press(&mut screen, KeyCode::Char('s')), Pressed::Stay);
    }
    assert_eq!(names(&screen), ["9f3c", "ws-1", "ws-2", "ws-3"], "by name");
    screen.show(view());
    assert_eq!(names(&screen)[0], "9f3c", "the next reading is sorted so too");
    press(&mut screen, KeyCode::Down);
    assert_eq!(names(&screen), ["ws-1", "ws-2", "ws-3"]);
    for _ in 0..9 {
        press(&mut screen, KeyCode::Down);
    }
    assert_eq!(names(&screen), ["ws-3"], "the last one stays");
    press(&mut screen, KeyCode::Up);
    assert_eq!(names(&screen), ["ws-2", "ws-3"]);

    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.press(control_c), Pressed::Leave);
    assert_eq!(press(&mut screen, KeyCode::Char('c')), Pressed::Stay);
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Pressed::Leave);
    assert_eq!(press(&mut screen, KeyCode::Esc), Pressed::Leave);
}
