//! In place of the page with all nodes, in a program without web pages.

use anyhow::Result;
use crossbeam_channel::Receiver;

use super::Devnet;
use super::orders::{Asked, Outcome};
use super::process::Processes;
use super::screen::Standings;

/// There is none.
pub(super) enum Page {}

impl Page {
    pub(super) fn open(_: &Devnet<'_>) -> Result<Option<Self>> {
        Ok(None)
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        match *self {}
    }

    pub(super) fn close(self) {
        match self {}
    }

    pub(super) fn orders(&self) -> &Receiver<Asked> {
        match *self {}
    }

    pub(super) fn note(&mut self, _: &Outcome) {
        match *self {}
    }

    pub(super) fn show(&mut self, _: &Devnet<'_>, _: &Standings, _: &mut Processes) {
        match *self {}
    }
}

/// The options that say to a node where its pages are to be.
pub(super) fn options(_: &crate::args::DevnetArgs) -> Vec<String> {
    Vec::new()
}
