//! Which file of the crate uses which: imports and paths, followed to where an item is defined.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::paths::{Import, Paths};
use crate::source::Source;
use crate::tokens::{Token, tokens};

/// Re-exports that are followed before a path is given up.
const HOPS_MAX: usize = 16;

const ITEM_KEYWORDS: [&str; 9] =
    ["struct", "enum", "trait", "union", "type", "fn", "const", "static", "mod"];

type Path = Vec<String>;

pub struct Module {
    pub file: String,
    /// `["engine", "batch"]`; empty for `src/lib.rs`.
    path: Path,
    paths: Paths,
    /// Words outside imports and declarations of modules.
    words: HashSet<String>,
    items: HashSet<String>,
}

pub struct Modules {
    all: Vec<Module>,
    by_path: HashMap<Path, usize>,
}

impl Modules {
    pub fn of(sources: &[Source]) -> Self {
        let all: Vec<_> = sources.iter().map(Module::of).collect();
        let by_path =
            all.iter().enumerate().map(|(at, module)| (module.path.clone(), at)).collect();
        Self { all, by_path }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.all.iter()
    }

    /// The absolute paths, without `crate`, that a module names inside the crate.
    pub fn named_by<'a>(&'a self, module: &'a Module) -> impl Iterator<Item = Path> {
        module.paths.all().filter_map(|path| self.absolute(module, path, 0))
    }

    /// The paths that lead out of the crate: to the standard library and to other crates.
    pub fn outside_paths<'a>(&'a self, module: &'a Module) -> impl Iterator<Item = String> {
        let is_outside = |path: &&[String]| self.absolute(module, path, 0).is_none();
        module.paths.all().filter(is_outside).map(|path| path.join("::"))
    }

    /// The files that each file uses, with the path by which it does.
    pub fn uses(&self) -> BTreeMap<&str, BTreeMap<&str, String>> {
        let mut found: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for module in &self.all {
            let uses = found.entry(&module.file).or_default();
            for path in module.used_paths() {
                if let Some(used) = self.defined_in(module, path)
                    && used.file != module.file
                {
                    uses.entry(&used.file).or_insert_with(|| path.join("::"));
                }
            }
        }
        found
    }

    /// The file that defines what a path in `module` names; none for a mere module.
    fn defined_in(&self, module: &Module, path: &[String]) -> Option<&Module> {
        let is_glob = path.last().is_some_and(|last| last == "*");
        let path = path.strip_suffix(&["*".to_owned()]).unwrap_or(path);
        let absolute = self.absolute(module, path, 0)?;
        match self.resolve(&absolute, 0)? {
            (found, true) => is_glob.then_some(found),
            (found, false) => Some(found),
        }
    }

    /// `path` from the crate's root on; none if it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String], hops: usize) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        let joined = |base: &[String], rest: &[String]| Some([base, rest].concat());
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => joined(&module.path, rest),
            "super" => {
                let supers = path.iter().take_while(|part| *part == "super").count();
                let base = &module.path[..module.path.len().checked_sub(supers)?];
                joined(base, &path[supers..])
            }
            _ if hops > HOPS_MAX => None,
            name => {
                if let Some(import) = module.import(name).filter(|import| import.path != path) {
                    let base = self.absolute(module, &import.path, hops + 1)?;
                    return joined(&base, rest);
                }
                let child = [module.path.as_slice(), &path[..1]].concat();
                self.by_path.contains_key(&child).then(|| [child.as_slice(), rest].concat())
            }
        }
    }

    /// The module that defines the item at an absolute path, and whether the path is a module's.
    fn resolve(&self, path: &[String], hops: usize) -> Option<(&Module, bool)> {
        let depth = (0..=path.len()).rev().find(|&n| self.by_path.contains_key(&path[..n]))?;
        let module = &self.all[self.by_path[&path[..depth]]];
        let Some(item) = path.get(depth) else {
            return Some((module, true));
        };
        if hops > HOPS_MAX {
            return None;
        }
        if let Some(import) = module.import(item) {
            let base = self.absolute(module, &import.path, 0)?;
            return self.resolve(&[base.as_slice(), &path[depth + 1..]].concat(), hops + 1);
        }
        let through_glob = module.globs().find_map(|glob| {
            let base = self.absolute(module, glob, 0)?;
            let (found, is_module) = self.resolve(&base, hops + 1)?;
            (is_module && found.items.contains(item)).then_some(found)
        });
        Some((through_glob.unwrap_or(module), false))
    }
}

impl Module {
    fn of(source: &Source) -> Self {
        let inner = source.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut path: Path = inner.split('/').map(str::to_owned).collect();
        path.pop_if(|last| ["mod", "lib"].contains(&last.as_str()));
        let tokens = tokens(&source.text);
        Self {
            file: source.path.clone(),
            path,
            paths: Paths::of(&tokens),
            words: words_outside_imports(&tokens),
            items: items(&tokens),
        }
    }

    /// The top-level module that this one is part of.
    pub fn room(&self) -> Option<&str> {
        self.path.first().map(String::as_str)
    }

    /// Whether the module's path begins with these names.
    pub fn is_inside(&self, names: &[&str]) -> bool {
        self.path.len() >= names.len() && self.path.iter().zip(names).all(|(own, name)| own == name)
    }

    fn import(&self, name: &str) -> Option<&Import> {
        self.paths.imports.iter().find(|import| import.name == name)
    }

    fn globs(&self) -> impl Iterator<Item = &Path> {
        self.paths.imports.iter().filter(|import| import.name == "*").map(|import| &import.path)
    }

    /// What the module needs itself: a re-export counts only if its name is used as well.
    fn used_paths(&self) -> impl Iterator<Item = &[String]> {
        let is_needed = |import: &&Import| !import.is_exported || self.words.contains(&import.name);
        let imported = self.paths.imports.iter().filter(is_needed);
        let in_code = self.paths.in_code.iter();
        imported.map(|import| import.path.as_slice()).chain(in_code.map(Vec::as_slice))
    }
}

fn words_outside_imports(tokens: &[Token]) -> HashSet<String> {
    let mut words = HashSet::new();
    let mut is_import = false;
    for (at, token) in tokens.iter().enumerate() {
        let is_module = at > 0 && tokens[at - 1].as_str() == "mod";
        match token.as_str() {
            "use" => is_import = true,
            ";" => is_import = false,
            _ if !is_import && !is_module => drop(words.insert(token.clone())),
            _ => {}
        }
    }
    words
}

fn items(tokens: &[Token]) -> HashSet<String> {
    let pairs = tokens.windows(2).filter(|pair| ITEM_KEYWORDS.contains(&pair[0].as_str()));
    pairs.map(|pair| pair[1].clone()).collect()
}

/// Files that use each other directly or through others, each with the shortest way back to it.
pub fn cycles(uses: &BTreeMap<&str, BTreeMap<&str, String>>) -> Vec<String> {
    let ways = uses.keys().filter_map(|file| way_back(uses, file));
    let described = ways.map(|way| {
        let step = |step: &[&str]| format!("{} ({})", step[1], uses[step[0]][step[1]]);
        let steps: Vec<_> = way.windows(2).map(step).collect();
        format!("{} uses {}", way[0], steps.join(", which uses "))
    });
    described.collect()
}

fn way_back<'a>(
    uses: &BTreeMap<&'a str, BTreeMap<&'a str, String>>,
    file: &'a str,
) -> Option<Vec<&'a str>> {
    let mut previous: HashMap<&str, &str> = HashMap::new();
    let mut queue = VecDeque::from([file]);
    while let Some(at) = queue.pop_front() {
        for &next in uses.get(at).into_iter().flat_map(BTreeMap::keys) {
            if next == file {
                let mut way = vec![file, at];
                while let Some(&before) = previous.get(way[way.len() - 1]) {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if !previous.contains_key(next) {
                previous.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses_among(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| Source {
            path: format!("src/{path}"),
            text: (*text).to_owned(),
        };
        let modules = Modules::of(&files.iter().map(source).collect::<Vec<_>>());
        let uses = modules.uses();
        let pairs = uses.iter().flat_map(|(from, to)| {
            to.keys().map(move |to| format!("{from} {to}").replace("src/", ""))
        });
        pairs.collect()
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_its_item() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A;"),
            ("a/mod.rs", "mod c; mod d; pub use c::{A, C}; pub use d::*; use crate::b::B;"),
            ("a/c.rs", "pub struct A; pub struct C;"),
            ("a/d.rs", "use super::super::b; pub struct D(b::B);"),
            ("b.rs", "use crate::{A, a::{self, D}}; pub struct B; fn f(_: a::C) {}"),
        ];
        let expected = ["a/d.rs b.rs", "a/mod.rs b.rs", "b.rs a/c.rs", "b.rs a/d.rs"];
        assert_eq!(uses_among(&files), expected);
    }

    #[test]
    fn a_parent_that_only_exports_what_its_child_defines_does_not_use_it() {
        let child = ("a/b.rs", "use super::X; pub struct Y(X);");
        let exports = ("a/mod.rs", "mod b; pub use b::Y; pub struct X;");
        assert_eq!(uses_among(&[child, exports]), ["a/b.rs a/mod.rs"]);
        let same_name = ("a/mod.rs", "mod b; pub use b::b; pub struct X;");
        assert_eq!(uses_among(&[child, same_name]), ["a/b.rs a/mod.rs"]);
        let uses = ("a/mod.rs", "mod b; pub use b::Y; pub struct X; fn f(_: Y) {}");
        assert_eq!(uses_among(&[child, uses]), ["a/b.rs a/mod.rs", "a/mod.rs a/b.rs"]);
    }

    #[test]
    fn every_file_of_a_cycle_is_reported() {
        let modules = |pairs: &[(&'static str, &'static str)]| {
            let mut uses: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
            for (from, to) in pairs {
                uses.entry(from).or_default().insert(to, (*to).to_owned());
            }
            cycles(&uses)
        };
        assert_eq!(modules(&[("a", "b"), ("b", "c")]), <[String; 0]>::default());
        let circle = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")];
        let found = modules(&circle);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], "a uses b (b), which uses c (c), which uses a (a)");
    }
}
