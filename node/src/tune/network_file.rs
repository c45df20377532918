//! Changes the line of the difficulty in the text of a network file; all other lines, with their remarks, stay.

use quarry_core::network::{Difficulty, NetworkFile};
use quarry_core::target::Bits;

/// Why a network file cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It is no network file.
    #[error(transparent)]
    Malformed(#[from] toml::de::Error),
    /// The difficulty does not stand on a line of its own.
    #[error("the difficulty is not on a line that begins with `difficulty =`")]
    NoLine,
}

/// The text with another difficulty.
pub fn with_difficulty(text: &str, bits: Bits) -> Result<String, ChangeError> {
    let mut expected: NetworkFile = toml::from_str(text)?;
    expected.difficulty = Difficulty::Bits(bits);
    let is_setting = |line: &str| {
        let rest = line.trim_start().strip_prefix("difficulty");
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let lines = text.split_inclusive('\n').map(|line| {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        if is_setting(line) { format!("difficulty = \"{bits}\"{end}") } else { line.to_owned() }
    });
    let changed: String = lines.collect();
    // Whatever the layout of the file: what is written means what it should, or is not written.
    match toml::from_str::<NetworkFile>(&changed) {
        Ok(file) if file == expected => Ok(changed),
        _ => Err(ChangeError::NoLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\nname = \"a\"\ngenesis_time = \"2026-01-01 00:00:00\"\n  difficulty=5 # zeros\naccounts = []\n";

    #[test]
    fn only_the_difficulty_changes() {
        let changed = with_difficulty(TEXT, Bits(0x1d00_ffff)).unwrap();
        assert_eq!(changed, TEXT.replace("  difficulty=5 # zeros", "difficulty = \"1d00ffff\""));
        assert_eq!(with_difficulty(&changed, Bits(0x1d00_ffff)), Ok(changed));
    }

    #[test]
    fn what_cannot_be_changed_safely_is_not() {
        let quoted = TEXT.replace("difficulty=5", "\"difficulty\"=5");
        assert_eq!(with_difficulty(&quoted, Bits(0x1d00_ffff)), Err(ChangeError::NoLine));
        assert!(matches!(with_difficulty("name = 1", Bits(0x1d00_ffff)), Err(ChangeError::Malformed(_))));
    }
}
