//! A file that is opened for writing, but not written to.
//! Invariant: nothing that is done to a [`Scratch`] reaches what is under it.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

const PAGE_BYTES: usize = 4096;

/// What is under it, and in memory whatever has been written since. redb checks a file's pages, and puts in order what a
/// node that was killed has left, only where it may write. A copy of the file would take its time and room.
#[derive(Debug)]
pub(super) struct Scratch<B> {
    under: B,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    /// So much of what is under it has been neither cut off nor follows such a cut.
    kept: u64,
    /// By number: the pages that have been written to, whole.
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

impl<B: StorageBackend> Scratch<B> {
    /// Nothing has been written.
    pub(super) fn new(under: B) -> io::Result<Self> {
        let len = under.len()?;
        Ok(Self { under, state: Mutex::new(State { len, kept: len, pages: BTreeMap::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills `out` with what is kept of what is under it, and zeros.
    fn read_under(&self, kept: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(kept.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (there, beyond) = out.split_at_mut(there);
        beyond.fill(0);
        if there.is_empty() { Ok(()) } else { self.under.read(offset, there) }
    }
}

impl<B: StorageBackend> StorageBackend for Scratch<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        within(state.len, offset, out.len())?;
        self.read_under(state.kept, offset, out)?;
        for (number, in_page, in_data) in parts(offset, out.len()) {
            if let Some(page) = state.pages.get(&number) {
                out[in_data].copy_from_slice(&page[in_page]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        if len < state.len {
            let (last, rest) = (len / PAGE_BYTES as u64, (len % PAGE_BYTES as u64) as usize);
            state.pages.split_off(&len.div_ceil(PAGE_BYTES as u64));
            if let Some(page) = state.pages.get_mut(&last) {
                page[rest..].fill(0);
            }
            state.kept = state.kept.min(len);
        }
        state.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        within(state.len, offset, data.len())?;
        for (number, in_page, in_data) in parts(offset, data.len()) {
            if !state.pages.contains_key(&number) {
                let mut page = Box::new([0; PAGE_BYTES]);
                if in_page.len() < PAGE_BYTES {
                    self.read_under(state.kept, number * PAGE_BYTES as u64, &mut page[..])?;
                }
                state.pages.insert(number, page);
            }
            if let Some(page) = state.pages.get_mut(&number) {
                page[in_page].copy_from_slice(&data[in_data]);
            }
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.under.close()
    }

    // Who writes nothing needs keep out only those who write.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.under.try_lock_shared_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.under.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.under.lock_shared_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.under.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.under.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.under.query_lock_range(start, end)
    }
}

fn within(len: u64, offset: u64, count: usize) -> io::Result<()> {
    let end = offset.checked_add(count as u64).filter(|end| *end <= len);
    end.map(|_| ()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The pages that so many bytes from `offset` on lie in: a page's number, where in it, and where in the bytes.
fn parts(offset: u64, count: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let (mut number, mut start) = (offset / PAGE_BYTES as u64, (offset % PAGE_BYTES as u64) as usize);
    let mut done = 0;
    std::iter::from_fn(move || {
        let take = (PAGE_BYTES - start).min(count - done);
        let part = (0 < take).then(|| (number, start..start + take, done..done + take));
        (number, start, done) = (number + 1, 0, done + take);
        part
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A bit more than three pages.
    const UNDER_BYTES: u64 = 13_000;

    proptest! {
        #[test]
        fn it_is_like_a_file_and_leaves_what_is_under_it(
            steps in vec((0..3, 0..20_000_u64, 0..9_000_usize, 1..=255_u8), 0..20),
        ) {
            let mut model: Vec<u8> = (0..UNDER_BYTES).map(|at| (at % 251) as u8).collect();
            let (under, before) = (InMemoryBackend::new(), model.clone());
            under.set_len(UNDER_BYTES).unwrap();
            under.write(0, &model).unwrap();
            let scratch = Scratch::new(under).unwrap();
            for (kind, at, count, byte) in steps {
                let end = at as usize + count;
                match kind {
                    0 => {
                        scratch.set_len(at).unwrap();
                        model.resize(at as usize, 0);
                    }
                    1 if end <= model.len() => {
                        scratch.write(at, &vec![byte; count]).unwrap();
                        model[at as usize..end].fill(byte);
                    }
                    1 => assert!(scratch.write(at, &vec![byte; count]).is_err()),
                    _ => {
                        let mut out = vec![byte; count];
                        let read = scratch.read(at, &mut out);
                        assert_eq!(read.is_ok(), end <= model.len());
                        assert!(read.is_err() || out == model[at as usize..end]);
                    }
                }
                let mut all = vec![0; model.len()];
                scratch.read(0, &mut all).unwrap();
                assert!(all == model && scratch.len().unwrap() == model.len() as u64);
            }
            let mut after = vec![0; before.len()];
            scratch.under.read(0, &mut after).unwrap();
            assert!(after == before && scratch.under.len().unwrap() == UNDER_BYTES);
        }
    }
}
