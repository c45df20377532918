//! Changes the difficulty in the text of a network file; all else, with its order and remarks, stays.

use quarry_core::target::Bits;
use toml_edit::{DocumentMut, TomlError, Value, value};

/// The text with another difficulty.
pub fn with_difficulty(text: &str, bits: Bits) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let difficulty = document.entry("difficulty").or_insert_with(|| value(""));
    let mut new = Value::from(bits.to_string());
    if let Some(old) = difficulty.as_value() {
        // The blanks and the remark around it.
        *new.decor_mut() = old.decor().clone();
    }
    *difficulty = new.into();
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: Bits = Bits(0x1d00_ffff);
    const TEXT: &str = "# mine\nname = \"a\" # it\ngenesis_time = \"2026-01-01 00:00:00\"\n\n# in zeros\n  difficulty=5  # as ever\n\
                        block_time = 0\n\n[[accounts]] # one\n  name = \"difficulty\"\nbalance = \"1.00\"\n# the end\n";

    #[test]
    fn only_the_difficulty_changes() {
        let changed = with_difficulty(TEXT, BITS).unwrap();
        assert_eq!(changed, TEXT.replace("difficulty=5", "difficulty=\"1d00ffff\""));
        assert_eq!(with_difficulty(&changed, BITS).unwrap(), changed);
        let quoted = |text: &str| text.replace("  difficulty=", "'difficulty' =\t");
        assert_eq!(with_difficulty(&quoted(TEXT), BITS).unwrap(), quoted(&changed));
    }

    #[test]
    fn a_difficulty_that_is_missing_is_added_before_the_tables() {
        let text = TEXT.replace("# in zeros\n  difficulty=5  # as ever\n", "");
        let expected = text.replace("time = 0\n", "time = 0\ndifficulty = \"1d00ffff\"\n");
        assert_eq!(with_difficulty(&text, BITS).unwrap(), expected);
    }

    #[test]
    fn what_is_no_toml_is_refused() {
        assert!(with_difficulty("name = ", BITS).unwrap_err().to_string().contains("line 1"));
    }
}
