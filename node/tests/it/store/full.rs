//! A disk that fails for good at any point of any commit: full, read only, or broken. The store says so, and what it
//! holds afterwards is what the commits that had returned made; once the disk works again it goes on.

use std::io::ErrorKind;

use node::store::{RedbStore, verify};

use super::power::History;
use super::power::disk::Disk;

#[test]
fn a_commit_that_the_disk_has_no_room_for_fails_and_damages_nothing() {
    let history = History::new(0, Disk::default());
    let (network, commits) = (&history.network, &history.commits);
    let mut failures = 0;
    for after in 0.. {
        let kinds = [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::FileTooLarge];
        let kind = kinds[after % kinds.len()];
        let disk = Disk::default();
        drop(RedbStore::on(disk.clone(), &network.id).unwrap());
        let mut done = 0;
        let failure = match RedbStore::on(disk.failing(after, kind), &network.id) {
            Err(error) => Some(error.to_string()),
            Ok(mut store) => {
                let failure = commits.iter().find_map(|changes| {
                    let failure = store.apply(changes).err();
                    done += usize::from(failure.is_none());
                    failure.map(|error| error.to_string())
                });
                assert!(history.holds(&store, done), "what it answers is what it has committed");
                failure
            }
        };
        let Some(failure) = failure else { break };
        failures += 1;
        let cause = std::io::Error::from(kind).to_string();
        assert!(failure.contains(&cause), "not `{cause}` but: {failure}");

        // The disk works again, and has what was written before; the commit that failed may be whole.
        let mut store = RedbStore::on(Disk::new(disk.image()), &network.id).unwrap();
        let found = (done..=done + 1).find(|commits| history.holds(&store, *commits));
        let found = found.unwrap_or_else(|| panic!("{done} commits had returned before operation {after}"));
        commits[found..].iter().for_each(|changes| store.apply(changes).unwrap());
        assert!(history.holds(&store, commits.len()));
        verify(store.snapshot(), network, &mut |_, _| {}).unwrap();
    }
    assert!(100 < failures, "only {failures} places to fail at");
}
