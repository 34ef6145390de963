//! `websocket-bench`: clients by the thousand, and one report of what happened to them.
