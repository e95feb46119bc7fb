//! Where the Python environment lies that a script runs in, for a process that may read nothing else.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that the Python behind `library`, a libvsscript, reads. `configuration` is VapourSynth's folder below
/// `XDG_CONFIG_HOME`, whose file says which Python that is.
pub(super) fn folders(library: &Path, configuration: Option<&Path>) -> Vec<PathBuf> {
    let mut found = vec![package_root(library)];
    if let Some(home) = home_of(&found[0]) {
        found.extend(parts_of(&home));
    }
    for path in configuration.map(|folder| configured(folder, library)).unwrap_or_default() {
        // The interpreter is in `bin`, the library in `lib`: both are in their installation's first level.
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        found.extend([path, real].iter().filter_map(|path| path.parent()).flat_map(parts_of));
    }
    found.sort();
    found.dedup();
    found
}

/// The virtual environment that a library lies in, or the folder of packages.
fn package_root(library: &Path) -> PathBuf {
    let environment = library.ancestors().find(|folder| folder.join("pyvenv.cfg").is_file());
    let is_packages = |folder: &&Path| folder.ends_with("site-packages") || folder.ends_with("dist-packages");
    let packages = || library.ancestors().find(is_packages);
    environment.or_else(packages).or(library.parent()).unwrap_or(library).to_owned()
}

/// The folder of the interpreter that a virtual environment was made with.
fn home_of(environment: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(environment.join("pyvenv.cfg")).ok()?;
    let value = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "home").then(|| PathBuf::from(value.trim()))
    };
    text.lines().find_map(value)
}

/// What an installation of Python consists of, seen from its `bin` or `lib`. Not the folder above itself: that may be
/// somebody's home.
fn parts_of(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let Some(prefix) = folder.as_ref().parent() else { return Vec::new() };
    ["bin", "lib", "lib64"].iter().map(|name| prefix.join(name)).filter(|folder| folder.is_dir()).collect()
}

/// The paths that the configuration names for `library`.
fn configured(folder: &Path, library: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(folder.join("vapoursynth.toml")).unwrap_or_default();
    let entries: HashMap<String, toml::Value> = toml::from_str(&text).unwrap_or_default();
    let values = library.to_str().and_then(|library| entries.get(library)?.as_array());
    let paths = values.into_iter().flatten().filter_map(|value| value.as_str()).map(PathBuf::from);
    paths.filter(|path| path.is_absolute()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, files: &[(&str, String)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn an_environment_and_the_python_that_it_was_made_with_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let library = root.join("venv/lib/python3.12/site-packages/vapoursynth/libvsscript.so");
        let at = |path: &str| root.join(path).display().to_string();
        let entry = format!("{:?} = [{:?}, {:?}, \"123\"]", library, at("venv/bin/python"), at("b/lib/libpython.so"));
        make(
            &root,
            &[
                ("venv/pyvenv.cfg", format!("home = {}\nversion = 3.12\n", at("a/bin"))),
                ("venv/lib/python3.12/site-packages/vapoursynth/libvsscript.so", String::new()),
                ("venv/bin/python", String::new()),
                ("a/bin/python3.12", String::new()),
                ("a/lib/python3.12/os.py", String::new()),
                ("a/secret", String::new()),
                ("b/lib/libpython.so", String::new()),
                ("config/vapoursynth.toml", format!("{entry}\n\"/other\" = [\"/etc/shadow\", \"\", \"\"]\n")),
            ],
        );
        let found = folders(&library, Some(&root.join("config")));
        let expected = ["a/bin", "a/lib", "b/lib", "venv", "venv/bin", "venv/lib"];
        assert_eq!(found, expected.map(|path| root.join(path)));
    }

    #[test]
    fn without_an_environment_it_is_the_folder_of_packages() {
        let library = Path::new("/nowhere/lib/python3/dist-packages/vapoursynth/libvsscript.so");
        assert_eq!(folders(library, None), [PathBuf::from("/nowhere/lib/python3/dist-packages")]);
        assert_eq!(folders(Path::new("/nowhere/lib/libvsscript.so"), None), [PathBuf::from("/nowhere/lib")]);
    }
}
