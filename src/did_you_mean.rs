//! The hint for a name that is not known: the known name that was probably meant.

/// The hint that names the candidate nearest to what was written, if one is near enough.
pub fn did_you_mean<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(written, candidates).map(|near| format!("did you mean '{near}'?"))
}

/// The candidate nearest to what was written, if one is near enough to be what was meant; otherwise
/// the only one that begins with it.
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let near = candidates
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_lowercase()),
                *name,
            )
        })
        .filter(|(distance, name)| {
            *distance <= (name.len().max(written.len()) / 3).max(1)
                && *distance < name.len().min(written.len()).max(1)
        })
        .min_by_key(|(distance, _)| *distance);
    near.map(|(_, name)| name).or_else(|| {
        let is_word = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let mut longer = candidates.iter().filter(|name| {
            lower.len() > 1 && is_word(name) && name.to_lowercase().starts_with(&lower)
        });
        longer.next().filter(|_| longer.next().is_none()).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(nearest("statsu", ["id", "status", "name"]), Some("status"));
        assert_eq!(nearest("ICAO", ["icao", "iata"]), Some("icao"));
        assert_eq!(nearest("elevation", ["id", "name"]), None);
        assert_eq!(nearest("x", ["j"]), None);
    }

    #[test]
    fn a_beginning_is_offered_its_only_end() {
        assert_eq!(nearest("out", ["on", "output"]), Some("output"));
        assert_eq!(nearest("date", ["date_column", "date_format"]), None);
        assert_eq!(nearest("o", ["output"]), None);
        assert_eq!(nearest("id", ["id;name"]), None);
    }
}
