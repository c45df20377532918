//! Tests of the search from the outside, against an oracle that shares no code with it.

mod oracle;
mod search;
