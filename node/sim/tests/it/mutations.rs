//! The list of bugs that prove the checkers can be put into the core as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quarry_sim::options::Options;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    name: String,
    story: String,
    /// The settings of the networks in which it shows, where few seeds draw them.
    with: Option<String>,
    file: String,
    old: String,
    new: String,
}

/// A change to the core that moved such a place once ended the whole proof at the first bug that had lost its own.
#[test]
fn every_bug_has_its_place_in_the_core() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(crate_root.join("mutations/mutations.toml")).unwrap();
    let List { mutation: mutations } = toml::from_str(&list).unwrap();
    assert!(40 < mutations.len(), "the list is read");
    let mut wrong = Vec::new();
    for Mutation { name, with, file, old, new, .. } in &mutations {
        let text = fs::read_to_string(crate_root.join("../core/src").join(file)).unwrap();
        let count = text.matches(old).count();
        if count != 1 || old == new {
            wrong.push(format!("{name}: {file} holds {count} times: {old}"));
        }
        wrong.extend(
            with.iter().filter(|it| !are_settings(it)).map(|it| format!("{name}: no settings: {it}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let different = |text: fn(&Mutation) -> &str| mutations.iter().map(text).collect::<BTreeSet<_>>().len();
    assert_eq!((different(|it| &it.name), different(|it| &it.story)), (mutations.len(), mutations.len()));
}

/// Whether a text says settings of networks as `quarry-sim --with` takes them.
fn are_settings(text: &str) -> bool {
    let mut settings = serde_json::to_value(Options::calm()).unwrap();
    let Ok(Value::Object(changes)) = serde_json::from_str(text) else { return false };
    settings.as_object_mut().unwrap().extend(changes);
    serde_json::from_value::<Options>(settings).is_ok()
}
