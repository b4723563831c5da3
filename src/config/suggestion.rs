//! Finds the name that was probably meant by a misspelled one.

/// Most edits between a misspelled name and the suggestion.
const EDITS_MAX: usize = 3;

/// The candidate closest to `name`; none if all are too different.
pub(super) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let distances = candidates.into_iter().map(|each| (edits(&wanted, &each.to_lowercase()), each));
    let limit = EDITS_MAX.min(wanted.chars().count() / 2);
    distances.filter(|(edits, _)| *edits <= limit).min().map(|(_, each)| each)
}

/// The Levenshtein distance: insertions, deletions and replacements of characters.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, character) in from.chars().enumerate() {
        let mut diagonal = index;
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_suggested_if_it_is_close_enough() {
        let names = ["database_url", "rabbitmq_url", "port", "redis_url"];
        assert_eq!(closest("databse_url", names), Some("database_url"));
        assert_eq!(closest("DATABASE_URI", names), Some("database_url"));
        assert_eq!(closest("rabbit_url", names), Some("rabbitmq_url"));
        assert_eq!(closest("prot", names), Some("port"));
        assert_eq!(closest("x", names), None);
        assert_eq!(closest("nonsense", names), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
