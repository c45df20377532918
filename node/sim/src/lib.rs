//! Whole networks in virtual time, from one seed.
#![forbid(unsafe_code)]
