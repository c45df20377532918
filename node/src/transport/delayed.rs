//! A transport whose messages arrive later than they do, to study what a slow network does.
//! Invariant: everything is handed on in the order in which it came, each at least the delay after it came.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use quarry_core::units::NodeId;

use crate::transport::{Handover, Incoming, Outgoing, Receipt, Transport, TransportError, Usage};

/// How many messages may be on their way; more wait where they came from.
const WAITING_MAX: usize = 4096;

/// Hands on what another transport delivers, after a delay.
pub struct Delayed {
    inner: Box<dyn Transport>,
    incoming: Receiver<Incoming>,
}

impl Delayed {
    /// Puts `delay` between a transport and who receives from it. The thread ends with either of them.
    pub fn new(inner: Box<dyn Transport>, delay: Duration) -> Result<Self, std::io::Error> {
        let (sender, incoming) = bounded(1);
        let source = inner.incoming().clone();
        thread::Builder::new().name("delay".into()).spawn(move || hand_on(&source, &sender, delay))?;
        Ok(Self { inner, incoming })
    }
}

impl Transport for Delayed {
    fn send(&self, to: NodeId, message: Outgoing) -> Result<Handover, TransportError> {
        self.inner.send(to, message)
    }

    fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming
    }

    fn acknowledge(&self, receipts: Vec<Receipt>) -> Result<(), TransportError> {
        self.inner.acknowledge(receipts)
    }

    fn leave(&self) -> Result<(), TransportError> {
        self.inner.leave()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }
}

fn hand_on(source: &Receiver<Incoming>, sink: &Sender<Incoming>, delay: Duration) {
    let mut waiting: VecDeque<(Instant, Incoming)> = VecDeque::new();
    loop {
        let left = waiting.front().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let come = match left {
            Some(Duration::ZERO) => Err(RecvTimeoutError::Timeout),
            // What cannot be taken up waits; it is late by then, and is handed on at once.
            Some(left) if WAITING_MAX <= waiting.len() => {
                thread::sleep(left);
                Err(RecvTimeoutError::Timeout)
            }
            Some(left) => source.recv_timeout(left),
            None => source.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match come {
            Ok(incoming) => waiting.push_back((Instant::now() + delay, incoming)),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let Some((_, next)) = waiting.pop_front() else { continue };
                if sink.send(next).is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_order_and_no_sooner() {
        let delay = Duration::from_millis(30);
        let (source, inner) = bounded(16);
        let (sink, incoming) = bounded(1);
        let thread = thread::spawn(move || hand_on(&inner, &sink, delay));
        let started = Instant::now();
        for ticket in 0..10 {
            source.send(Incoming::Sent(ticket)).unwrap();
        }
        for expected in 0..10 {
            assert!(matches!(incoming.recv().unwrap(), Incoming::Sent(ticket) if ticket == expected));
            assert!(delay <= started.elapsed());
        }
        drop(source);
        thread.join().unwrap();
        assert!(incoming.recv().is_err(), "it ends with its source");
    }
}
