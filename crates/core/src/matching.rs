//! Which finding of this scan is which known finding. The store does the same with sets in SQL, and a test there
//! compares the two; these are the semantics.
//!
//! 1. Same fingerprint: the same finding.
//! 2. Of what is left on both sides: a content key that exactly one known and exactly one new finding have, at different
//!    paths, is a renamed file, and so the same finding.
//! 3. Everything else stays apart: two candidates for one known finding are a new finding each, and the known one is gone. A
//!    wrong match would carry a person's decision over to code which that person has never seen.
//!
//! Only findings of engines that assessed their files belong in here: a finding is not gone because nobody looked.

use crate::FindingId;
use std::collections::{HashMap, HashSet};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: FindingId,
    pub fingerprint: String,
    pub content_key: String,
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub fingerprint: String,
    pub content_key: String,
    pub path: String,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Matching {
    /// For each of `seen`, in order: the known finding it is, or nothing when it is new.
    pub matched: Vec<Option<FindingId>>,
    /// Known findings that are in no place any more, in the order of `known`.
    pub gone: Vec<FindingId>,
}

/// Fingerprints are unique within `known` and within `seen`; of equal ones the first counts, the others are gone or new.
pub fn match_findings(known: &[Known], seen: &[Seen]) -> Matching {
    let mut by_fingerprint: HashMap<&str, FindingId> = HashMap::new();
    for finding in known {
        by_fingerprint.entry(&finding.fingerprint).or_insert(finding.id);
    }
    let mut matched: Vec<Option<FindingId>> =
        seen.iter().map(|finding| by_fingerprint.remove(finding.fingerprint.as_str())).collect();
    let mut taken: HashSet<FindingId> = matched.iter().flatten().copied().collect();

    let left_known = unique(known.iter().filter(|f| !taken.contains(&f.id)), |f| &f.content_key);
    let left_seen = unique(seen.iter().enumerate().filter(|(n, _)| matched[*n].is_none()), |(_, f)| &f.content_key);
    for (content_key, candidate) in &left_seen {
        let (Some((position, new)), Some(Some(old))) = (candidate, left_known.get(content_key)) else { continue };
        if old.path != new.path {
            matched[*position] = Some(old.id);
            taken.insert(old.id);
        }
    }

    let gone = known.iter().map(|f| f.id).filter(|id| !taken.contains(id)).collect();
    Matching { matched, gone }
}

/// By key; `None` where more than one has it.
fn unique<'a, T: Copy>(items: impl Iterator<Item = T>, key: impl Fn(&T) -> &'a String) -> HashMap<&'a str, Option<T>> {
    let mut found: HashMap<&str, Option<T>> = HashMap::new();
    for item in items {
        found.entry(key(&item)).and_modify(|only| *only = None).or_insert(Some(item));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn known(n: u128, path: &str, code: &str) -> Known {
        let id = FindingId::from_uuid(Uuid::from_u128(n));
        Known { id, fingerprint: format!("{path}|{code}"), content_key: code.to_owned(), path: path.to_owned() }
    }

    fn seen(path: &str, code: &str) -> Seen {
        Seen { fingerprint: format!("{path}|{code}"), content_key: code.to_owned(), path: path.to_owned() }
    }

    fn id(n: u128) -> Option<FindingId> {
        Some(FindingId::from_uuid(Uuid::from_u128(n)))
    }

    #[test]
    fn the_same_place_is_the_same_finding() {
        let m =
            match_findings(&[known(1, "a.py", "x"), known(2, "a.py", "y")], &[seen("a.py", "y"), seen("a.py", "x")]);
        assert_eq!(m.matched, [id(2), id(1)]);
        assert!(m.gone.is_empty());
    }

    #[test]
    fn a_renamed_file_keeps_its_findings() {
        let m = match_findings(
            &[known(1, "old.py", "x"), known(2, "old.py", "y")],
            &[seen("new.py", "x"), seen("new.py", "y")],
        );
        assert_eq!(m.matched, [id(1), id(2)]);
    }

    #[test]
    fn two_candidates_stay_apart() {
        let split = match_findings(&[known(1, "old.py", "x")], &[seen("a.py", "x"), seen("b.py", "x")]);
        assert_eq!((split.matched, split.gone.len()), (vec![None, None], 1));
        let joined = match_findings(&[known(1, "a.py", "x"), known(2, "b.py", "x")], &[seen("new.py", "x")]);
        assert_eq!((joined.matched, joined.gone.len()), (vec![None], 2));
    }

    #[test]
    fn a_copy_is_new_and_the_original_stays() {
        let m = match_findings(&[known(1, "a.py", "x")], &[seen("copy.py", "x"), seen("a.py", "x")]);
        assert_eq!(m.matched, [None, id(1)]);
        assert!(m.gone.is_empty());
    }

    #[test]
    fn one_of_two_copies_renamed_is_found_again() {
        // The copy that stayed is matched by its fingerprint first, so the other is unique on both sides.
        let m =
            match_findings(&[known(1, "a.py", "x"), known(2, "b.py", "x")], &[seen("a.py", "x"), seen("c.py", "x")]);
        assert_eq!(m.matched, [id(1), id(2)]);
    }

    #[test]
    fn a_content_key_in_the_same_file_is_no_rename() {
        let mut moved = seen("a.py", "x");
        moved.fingerprint = "another".into();
        let m = match_findings(&[known(1, "a.py", "x")], &[moved]);
        assert_eq!((m.matched, m.gone.len()), (vec![None], 1));
    }

    /// Whatever the input: a known finding is matched at most once, is matched or gone, and the order of either side
    /// changes nothing.
    #[test]
    fn properties_hold_for_many_random_inputs() {
        let mut state = 7_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..2_000 {
            let mut place = || (format!("{}.py", random(4)), format!("code{}", random(4)));
            let (mut old, mut new) = (Vec::new(), Vec::new());
            for n in 0..6 {
                let (path, code) = place();
                old.push(known(n, &path, &code));
                let (path, code) = place();
                new.push(seen(&path, &code));
            }
            old.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
            old.dedup_by(|a, b| a.fingerprint == b.fingerprint);
            new.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
            new.dedup_by(|a, b| a.fingerprint == b.fingerprint);

            let m = match_findings(&old, &new);
            let mut all: Vec<_> = m.matched.iter().flatten().chain(&m.gone).copied().collect();
            all.sort();
            let mut ids: Vec<_> = old.iter().map(|f| f.id).collect();
            ids.sort();
            assert_eq!(all, ids, "round {round}");
            for (n, finding) in new.iter().enumerate() {
                let same = old.iter().find(|k| k.fingerprint == finding.fingerprint).map(|k| k.id);
                assert!(same.is_none() || m.matched[n] == same, "round {round}: a fingerprint was not honoured");
            }
            let (mut old_turned, mut new_turned) = (old.clone(), new.clone());
            old_turned.reverse();
            new_turned.reverse();
            let mut turned = match_findings(&old_turned, &new_turned);
            turned.matched.reverse();
            turned.gone.reverse();
            assert_eq!(m, turned, "round {round}");
        }
    }
}
