//! Checks that no files of a crate depend on each other in a circle.
//!
//! A file depends on another where it names an item of it, by `use` or by a path. A name that a module only passes on counts for
//! the file that it comes from, and `mod name;` for nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Expr, Item, ItemMod, ItemUse, Macro, Token, UseTree, Visibility};

/// Path of a module or an item from the root of its crate.
type Name = Vec<String>;

/// A file of a crate, with its modules, what it imports and all that it names.
#[derive(Default)]
struct File {
    module: Name,
    children: BTreeSet<String>,
    /// Imported names with what they stand for; `None` for those of other crates.
    imports: BTreeMap<String, Option<Name>>,
    names: Vec<Name>,
}

/// The files of a crate, by module.
#[derive(Default)]
struct Files(BTreeMap<Name, File>);

/// Lists the circles in every crate of the checkout at `root`, as sentences.
///
/// # Errors
/// When a source cannot be read.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for dir in ["", "crates", "datasets", "lab"].map(|folder| root.join(folder)) {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
            let source = entry?.path().join("src");
            let shown = source.strip_prefix(root).unwrap_or(&source).display().to_string();
            for top in ["lib.rs", "main.rs"].map(|top| source.join(top)).iter().filter(|top| top.exists()) {
                let mut files = Files::default();
                files.read(Name::new(), top, &source)?;
                let circles = files.circles().into_iter();
                found.extend(circles.map(|circle| format!("`{shown}` has a circle of files: {circle}")));
            }
        }
    }
    Ok(found)
}

impl Files {
    /// Reads the file of `module` and those of the modules in it, which lie in `folder`.
    fn read(&mut self, module: Name, path: &Path, folder: &Path) -> Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse `{}`", path.display()))?;
        let children = parsed.items.iter().filter_map(|item| match item {
            Item::Mod(child) => Some(child.ident.to_string()),
            _ => None,
        });
        let mut file = File { module: module.clone(), children: children.collect(), ..File::default() };
        file.visit_file(&parsed);
        for item in &parsed.items {
            let Item::Mod(ItemMod { ident, content: None, .. }) = item else { continue };
            let inner = folder.join(ident.to_string());
            let paths = [inner.with_extension("rs"), inner.join("mod.rs")];
            if let Some(path) = paths.iter().find(|path| path.exists()) {
                self.read([module.as_slice(), &[ident.to_string()]].concat(), path, &inner)?;
            }
        }
        self.0.insert(module, file);
        Ok(())
    }

    /// Returns the module that a name comes from.
    fn home(&self, name: &[String]) -> Option<&Name> {
        if self.0.contains_key(name) {
            return self.0.get_key_value(name).map(|(module, _)| module);
        }
        let (last, parent) = name.split_last()?;
        let Some((module, file)) = self.0.get_key_value(parent) else { return self.home(parent) };
        match file.imports.get(last) {
            // `use self::name` says where it is already.
            Some(Some(import)) if !import.starts_with(name) => self.home(import),
            Some(None) => None,
            _ => Some(module),
        }
    }

    /// Returns the shortest circle through each module that is the first of one.
    fn circles(&self) -> Vec<String> {
        let uses = |file: &File| file.names.iter().filter_map(|name| self.home(name)).cloned().collect();
        let mut graph: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for (module, file) in &self.0 {
            let mut homes: BTreeSet<Name> = uses(file);
            homes.remove(module);
            graph.insert(module.clone(), homes);
        }
        graph.keys().filter_map(|start| circle(&graph, start)).collect()
    }
}

/// Returns the shortest way from `start` back to it, through modules that come after it only.
fn circle(graph: &BTreeMap<Name, BTreeSet<Name>>, start: &Name) -> Option<String> {
    let (mut open, mut seen) = (VecDeque::from([vec![start]]), BTreeSet::new());
    while let Some(way) = open.pop_front() {
        for next in way.last().into_iter().flat_map(|last| &graph[*last]) {
            let way = [way.as_slice(), &[next]].concat();
            if next == start {
                return Some(way.iter().map(|name| name.join("::")).collect::<Vec<_>>().join(" -> "));
            }
            if next > start && seen.insert(next) {
                open.push_back(way);
            }
        }
    }
    None
}

impl File {
    /// Makes a path one from the root of the crate.
    fn absolute(&self, path: &[String]) -> Name {
        let parents = path.iter().take_while(|part| *part == "super").count();
        match path.first().map(String::as_str) {
            Some("crate") => path[1..].to_vec(),
            Some("self") => [&self.module, &path[1..]].concat(),
            _ => [&self.module[..self.module.len().saturating_sub(parents)], &path[parents..]].concat(),
        }
    }

    fn import(&mut self, path: &[String], tree: &UseTree) {
        let (last, name) = match tree {
            UseTree::Path(tree) => {
                return self.import(&[path, &[tree.ident.to_string()]].concat(), &tree.tree);
            }
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(path, tree)),
            UseTree::Name(name) => (&name.ident, &name.ident),
            UseTree::Rename(name) => (&name.ident, &name.rename),
            UseTree::Glob(_) => return self.names.extend(self.imported(path)),
        };
        let whole = if last == "self" { path.to_vec() } else { [path, &[last.to_string()]].concat() };
        let name = if name == "self" { whole.last().cloned().unwrap_or_default() } else { name.to_string() };
        let whole = self.imported(&whole);
        self.names.extend(whole.clone());
        self.imports.insert(name, whole);
    }

    /// Makes the path of a `use` one from the root of the crate; `None` where it leads into another crate.
    fn imported(&self, path: &[String]) -> Option<Name> {
        let is_ours =
            |first: &String| ["crate", "self", "super"].contains(&&**first) || self.children.contains(first);
        path.first().is_some_and(is_ours).then(|| self.absolute(path))
    }
}

impl<'ast> Visit<'ast> for File {
    // Tests inside a file do not count, and neither does `pub(in …)`.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let name: Name = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if name.len() > 1 {
            self.names.push(self.absolute(&name));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let args = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
        args.iter().flatten().for_each(|arg| Visit::visit_expr(self, arg));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the circles of a crate with these files.
    fn circles_of(sources: &[(&str, &str)]) -> Vec<String> {
        let dir =
            std::env::temp_dir().join(format!("xtask-circles-{}-{}", std::process::id(), sources.len()));
        fs::create_dir_all(dir.join("a")).unwrap();
        for (path, text) in sources {
            fs::write(dir.join(path), text).unwrap();
        }
        let mut files = Files::default();
        files.read(Name::new(), &dir.join("lib.rs"), &dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        files.circles()
    }

    #[test]
    fn no_crate_has_a_circle_of_files() {
        let found = check(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn a_circle_is_found_through_re_exports_paths_and_macros() {
        let lib = "mod a; mod b; mod c; pub use a::{A, up}; pub use c::C as D;";
        let a = "use super::b::B; pub struct A(B); pub fn up() -> usize { 1 }";
        let b = "use crate::D; pub(crate) struct B(D);";
        let c = "pub struct C; fn f() { assert_eq!(1, crate::up()) }";
        let circles = circles_of(&[("lib.rs", lib), ("a.rs", a), ("b.rs", b), ("c.rs", c)]);
        assert_eq!(circles, ["a -> b -> c -> a"]);
    }

    #[test]
    fn tests_inside_a_file_and_a_parent_that_re_exports_make_no_circle() {
        let lib = "mod a; pub use a::A; pub use toml::Table; #[cfg(test)] mod tests { use crate::a::A; }";
        let a = "mod inner; pub(super) struct A; use inner::B; #[cfg(test)] mod tests { use crate::A; }";
        let inner = "use crate::Table; use toml::toml; pub(super) struct B;";
        let circles = circles_of(&[("lib.rs", lib), ("a.rs", a), ("a/inner.rs", inner)]);
        assert!(circles.is_empty(), "{circles:?}");
    }
}
