//! The node program: one loop around the protocol core, and the commands around the loop.
//! A module imports only from modules above it in this list.
#![forbid(unsafe_code)]

pub mod exit;

pub mod clock;

pub mod ec2;

pub mod args;

pub mod bench;

pub mod config;

pub mod transport;

pub mod connection;

pub mod store;

pub mod query;

pub mod fates;

pub mod standing;

pub mod control;

pub mod mining;

pub mod tune;

pub mod notices;

pub mod printout;

pub mod feed;

#[cfg(feature = "http")]
pub mod http;

pub mod runtime;

pub mod commands;
