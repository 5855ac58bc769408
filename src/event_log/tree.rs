//! Values by the names of topics, or by patterns: a tree with a level for each token.

use std::collections::HashMap;

/// Values by names, such as `orders.42`, or by patterns, such as `orders.*`.
#[derive(Debug)]
pub(super) struct TokenTree<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    value: Option<T>,
    #[expect(clippy::box_collection, reason = "most nodes have none, and a map alone is larger")]
    children: Option<Box<HashMap<Box<str>, Node<T>>>>,
}

impl<T> Default for TokenTree<T> {
    fn default() -> Self {
        Self { root: Node::new() }
    }
}

impl<T> TokenTree<T> {
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let mut tokens = name.split('.');
        tokens.try_fold(&self.root, |node, token| node.child(token))?.value.as_ref()
    }

    /// The place of a name, which is made if it is not there.
    pub(super) fn place(&mut self, name: &str) -> &mut Option<T> {
        let node = name.split('.').fold(&mut self.root, |node, token| {
            node.children.get_or_insert_default().entry(token.into()).or_insert_with(Node::new)
        });
        &mut node.value
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<T> {
        self.root.remove(name)
    }

    /// Visits the values of all names that match one of these patterns, each once.
    pub(super) fn visit_matching<P>(&self, patterns: &TokenTree<P>, visit: &mut impl FnMut(&T)) {
        self.root.visit_matching(&[&patterns.root], visit);
    }

    /// Visits the values of all patterns that a name matches. This is a tree of patterns.
    pub(super) fn visit_patterns_of(&self, name: &str, visit: &mut impl FnMut(&T)) {
        self.root.visit_patterns_of(name, visit);
    }
}

impl<T> Node<T> {
    const fn new() -> Self {
        Self { value: None, children: None }
    }

    fn child(&self, token: &str) -> Option<&Self> {
        self.children.as_ref()?.get(token)
    }

    /// Removes the value of a name in this node, and nodes that are empty then.
    fn remove(&mut self, name: &str) -> Option<T> {
        let (token, rest) = split(name);
        let children = self.children.as_mut()?;
        let child = children.get_mut(token)?;
        let removed = match rest {
            Some(rest) => child.remove(rest),
            None => child.value.take(),
        };
        if child.value.is_none() && child.children.is_none() {
            children.remove(token);
        }
        if children.is_empty() {
            self.children = None;
        }
        removed
    }

    /// `patterns` are the nodes of a tree of patterns that the tokens up to here lead to.
    fn visit_matching<P>(&self, patterns: &[&Node<P>], visit: &mut impl FnMut(&T)) {
        let Some(children) = &self.children else {
            return;
        };
        if patterns.iter().any(|pattern| pattern.child(REST).is_some()) {
            return children.values().for_each(|child| child.visit_all(visit));
        }
        if patterns.iter().any(|pattern| pattern.child(ANY).is_some()) {
            for (token, child) in children.iter() {
                child.visit_by(token, patterns, visit);
            }
            return;
        }
        // No wildcard: only these tokens can match.
        for (at, pattern) in patterns.iter().enumerate() {
            for token in pattern.children.iter().flat_map(|tokens| tokens.keys()) {
                let is_new = patterns[..at].iter().all(|before| before.child(token).is_none());
                if let Some(child) = children.get(token).filter(|_| is_new) {
                    child.visit_by(token, patterns, visit);
                }
            }
        }
    }

    /// Visits this node, which `token` leads to.
    fn visit_by<P>(&self, token: &str, patterns: &[&Node<P>], visit: &mut impl FnMut(&T)) {
        let next = patterns.iter().flat_map(|pattern| [pattern.child(token), pattern.child(ANY)]);
        let mut next = next.flatten();
        if self.children.is_some() {
            let next: Vec<_> = next.collect();
            if next.iter().any(|pattern| pattern.value.is_some()) {
                self.value.iter().for_each(&mut *visit);
            }
            if !next.is_empty() {
                self.visit_matching(&next, visit);
            }
        } else if next.any(|pattern| pattern.value.is_some()) {
            self.value.iter().for_each(visit);
        }
    }

    fn visit_all(&self, visit: &mut impl FnMut(&T)) {
        self.value.iter().for_each(&mut *visit);
        for child in self.children.iter().flat_map(|children| children.values()) {
            child.visit_all(visit);
        }
    }

    fn visit_patterns_of(&self, name: &str, visit: &mut impl FnMut(&T)) {
        let (token, rest) = split(name);
        if let Some(all) = self.child(REST) {
            all.value.iter().for_each(&mut *visit);
        }
        for child in [token, ANY].into_iter().filter_map(|token| self.child(token)) {
            match rest {
                Some(rest) => child.visit_patterns_of(rest, visit),
                None => child.value.iter().for_each(&mut *visit),
            }
        }
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(token, rest)| (token, Some(rest)))
}

/// Any one token, in a pattern.
const ANY: &str = "*";

/// One token or more, at the end of a pattern.
const REST: &str = ">";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::event_log::{Topic, Topics};

    fn tokens(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        vec(prop::sample::select(of), 1..4)
    }

    fn pattern() -> impl Strategy<Value = String> {
        (tokens(&["a", "b", "c", "*"]), any::<bool>()).prop_map(|(mut tokens, rest)| {
            if rest {
                tokens.push(">");
            }
            tokens.join(".")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_tree_finds_what_a_look_at_each_name_finds(
            names in btree_set(tokens(&["a", "b", "c", "d"]), 0..20),
            removed in btree_set(tokens(&["a", "b", "c", "d"]), 0..20),
            patterns in btree_set(pattern(), 0..6),
        ) {
            let join = |names: BTreeSet<Vec<&str>>| -> BTreeSet<String> {
                names.into_iter().map(|tokens| tokens.join(".")).collect()
            };
            let (mut names, removed) = (join(names), join(removed));
            let (mut tree, mut of_patterns) = (TokenTree::default(), TokenTree::default());
            for name in &names {
                *tree.place(name) = Some(name.clone());
            }
            for name in &removed {
                prop_assert_eq!(tree.remove(name), names.take(name));
            }
            for pattern in &patterns {
                *of_patterns.place(pattern) = Some(pattern.clone());
            }

            let topics = Topics::new(&patterns).unwrap();
            let matches = |name: &&String| topics.matches(&Topic::new(name).unwrap());
            let mut found = Vec::new();
            tree.visit_matching(&of_patterns, &mut |name: &String| found.push(name.clone()));
            found.sort();
            prop_assert_eq!(found, names.iter().filter(matches).cloned().collect::<Vec<_>>());

            for name in &names {
                prop_assert_eq!(tree.get(name), Some(name));
                let topic = Topic::new(name).unwrap();
                let mut found = BTreeSet::new();
                of_patterns.visit_patterns_of(name, &mut |it: &String| {
                    assert!(found.insert(it.clone()), "it is visited twice");
                });
                let is = |it: &&String| Topics::new([it]).unwrap().matches(&topic);
                prop_assert_eq!(found, patterns.iter().filter(is).cloned().collect());
            }
            for name in &names {
                prop_assert_eq!(tree.remove(name), Some(name.clone()));
            }
            prop_assert!(tree.root.children.is_none(), "nothing is left of what is removed");
        }
    }
}
