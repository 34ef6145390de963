//! `docs/codes.md`, from the tables of close codes and error codes.

use std::fmt::Write;

use super::{CLOSE_CODES, ERROR_CODES};
use crate::generated::assert_current;

fn page() -> String {
    let mut page = "<!-- Generated from src/protocol/close.rs and src/protocol/error_code.rs by `make docs`. Do not edit. -->\n\n\
        # Codes\n\n\
        ## Close codes\n\n\
        The reason of a close frame that the service sends is `{\"error_code\":\"…\",\"message\":\"…\",\"correlation_id\":\"…\"}`,\n\
        at most 123 bytes; the message is shortened where it does not fit.\n\n\
        | code | when | what a client does |\n| --- | --- | --- |\n"
        .to_owned();
    for row in &CLOSE_CODES {
        let _ = writeln!(page, "| {} | {} | {} |", row.number, row.when, row.advice);
    }
    page.push_str(
        "\n## Error codes\n\n\
         In `error_detail.error_code` of HTTP bodies, `error_code` of close reasons and of log lines. The HTTP status is the\n\
         usual one; where an answer has a narrower one (405, 408, 413, 422, 426) that stands in the status line. The close\n\
         code is that of a connection that is refused or ended with the error.\n\n\
         | code | HTTP | close | logged at | what it means |\n| --- | --- | --- | --- | --- |\n",
    );
    for row in &ERROR_CODES {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            row.name,
            row.status.as_u16(),
            row.close.number(),
            row.level,
            row.meaning
        );
    }
    page
}

#[test]
fn generated_page_is_current() {
    assert_current("docs/codes.md", &page());
}
