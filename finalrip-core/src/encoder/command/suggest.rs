//! The right spelling of a word that is nearly right.

use strsim::{damerau_levenshtein, jaro_winkler};

/// Words longer than this are not typing errors of ours, and comparing them would take time.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if it is near enough to have been meant.
pub(crate) fn closest<S: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = S>) -> Option<String> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    // One slip in a short word, one in three letters in a longer one.
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let name = candidate.as_ref().to_lowercase();
            let distance = damerau_levenshtein(&word, &name);
            let near = distance <= limit && distance < name.chars().count();
            near.then(|| (distance, jaro_winkler(&word, &name), candidate.as_ref().to_owned()))
        })
        // Of the equally near, the one that begins alike.
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_mended_and_a_different_word_is_not() {
        assert_eq!(closest("crff", ["crf", "cq"]).as_deref(), Some("crf"));
        assert_eq!(closest("libx256", ["libx264", "libx265"]).as_deref(), Some("libx265"));
        assert_eq!(closest("PREST", ["preset", "tune"]).as_deref(), Some("preset"));
        assert_eq!(closest("zebra", ["crf", "cq"]), None);
        assert_eq!(closest("", ["a"]), None);
        assert_eq!(closest(&"x".repeat(100), ["x"]), None);
        assert_eq!(closest("q", ["b"]), None, "one letter for another is no resemblance");
    }
}
