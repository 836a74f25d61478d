//! Compiled components: in memory by digest, on disk by digest and compiler.
//!
//! A file is `<key>.component`, where the key is blake3(component digest, compiler hash), in hex:
//!
//! ```text
//! magic    8 bytes  "MPONDC01", the last two are the format's version
//! mac     32 bytes  blake3, keyed with the folder's host.key, of the file's key (32 bytes) and the payload
//! payload           what wasmtime's serialize made
//! ```
//!
//! Loading machine code from a file means running it, so nothing is loaded that this host did not write: the MAC's key
//! (`host.key`, 32 random bytes, readable by its owner only) is made on first use. Files are written under another name
//! and renamed. Whatever is wrong with a file or the folder, the component is compiled as if there were none.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::lock;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"MPONDC01";
const MAC_BYTES: usize = 32;
const KEY_FILE: &str = "host.key";
/// Components kept in memory beside those in use. A guess: a process rarely has more plugins.
const IN_MEMORY_MAX: usize = 64;

/// All compiled components of an engine.
pub(crate) struct Compiled {
    disk: Option<DiskCache>,
    memory: Mutex<InMemory>,
    compilations: AtomicU64,
}

#[derive(Default)]
struct InMemory {
    components: HashMap<MemoryKey, Component>,
    /// Oldest first.
    order: VecDeque<MemoryKey>,
}

/// The component's digest, and the stack size, because each of those has an engine of its own.
type MemoryKey = ([u8; 32], u64);

impl Compiled {
    pub(crate) fn new(cache_dir: Option<PathBuf>) -> Self {
        let disk = cache_dir.and_then(|dir| match DiskCache::open(&dir) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::debug!(dir = %dir.display(), %error, "compiled components are not cached on disk");
                None
            }
        });
        Self { disk, memory: Mutex::default(), compilations: AtomicU64::new(0) }
    }

    pub(crate) fn component(&self, engine: &Engine, stack_bytes: u64, bytes: &[u8]) -> Result<Component> {
        let digest = blake3::hash(bytes);
        let memory_key = (*digest.as_bytes(), stack_bytes);
        if let Some(component) = lock(&self.memory).components.get(&memory_key) {
            return Ok(component.clone());
        }
        let component = match &self.disk {
            Some(disk) => disk.component(engine, &digest, || self.compile(engine, bytes))?,
            None => self.compile(engine, bytes)?,
        };
        lock(&self.memory).insert(memory_key, component.clone());
        Ok(component)
    }

    fn compile(&self, engine: &Engine, bytes: &[u8]) -> Result<Component> {
        self.compilations.fetch_add(1, Ordering::Relaxed);
        Component::new(engine, bytes).map_err(|error| Error::Compile { reason: format!("{error:#}") })
    }

    #[cfg(test)]
    pub(crate) fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }
}

impl InMemory {
    fn insert(&mut self, key: MemoryKey, component: Component) {
        if self.components.insert(key, component).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > IN_MEMORY_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.components.remove(&oldest);
            }
        }
    }
}

/// Compiled components in a folder.
struct DiskCache {
    dir: PathBuf,
    mac_key: [u8; 32],
}

impl DiskCache {
    fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), mac_key: host_key(dir)? })
    }

    fn component(
        &self,
        engine: &Engine,
        digest: &blake3::Hash,
        compile: impl FnOnce() -> Result<Component>,
    ) -> Result<Component> {
        let key = file_key(engine, digest);
        let path = self.dir.join(format!("{}.component", key.to_hex()));
        match self.load(engine, &key, &path) {
            Ok(component) => return Ok(component),
            Err(reason) => tracing::debug!(path = %path.display(), reason, "compiling the component"),
        }
        let component = compile()?;
        if let Err(reason) = self.store(&component, &key, &path) {
            tracing::debug!(path = %path.display(), reason, "the compiled component is not cached");
        }
        Ok(component)
    }

    fn load(&self, engine: &Engine, key: &blake3::Hash, path: &Path) -> Result<Component, String> {
        let file = fs::read(path).map_err(|error| error.to_string())?;
        let rest = file.strip_prefix(MAGIC).ok_or("not a file of this format")?;
        let (mac, payload) = rest.split_at_checked(MAC_BYTES).ok_or("shorter than its header")?;
        let mac: [u8; MAC_BYTES] = mac.try_into().map_err(|_| "shorter than its header")?;
        // Comparing hashes of this type takes the same time for every input.
        if self.mac(key, payload) != blake3::Hash::from_bytes(mac) {
            return Err("damaged, or not written by this host".into());
        }
        deserialize(engine, payload).map_err(|error| format!("{error:#}"))
    }

    fn store(&self, component: &Component, key: &blake3::Hash, path: &Path) -> Result<(), String> {
        let payload = component.serialize().map_err(|error| format!("{error:#}"))?;
        let mac = self.mac(key, &payload);
        write_new(path, &[MAGIC, mac.as_bytes(), &payload], false).map_err(|error| error.to_string())
    }

    fn mac(&self, key: &blake3::Hash, payload: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.mac_key);
        hasher.update(key.as_bytes());
        hasher.update(payload);
        hasher.finalize()
    }
}

#[expect(unsafe_code, reason = "loading machine code is unsafe by nature")]
fn deserialize(engine: &Engine, payload: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` needs bytes that `serialize` made and nobody changed. The caller has checked a MAC over all of
    // them whose key only this host's user can read, and which this module only ever computes over `serialize`'s output.
    // The MAC covers the compiler's hash, too, so they are of this very compiler and configuration.
    unsafe { Component::deserialize(engine, payload) }
}

fn file_key(engine: &Engine, digest: &blake3::Hash) -> blake3::Hash {
    struct Into<'a>(&'a mut blake3::Hasher);
    impl std::hash::Hasher for Into<'_> {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(digest.as_bytes());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut Into(&mut hasher));
    hasher.finalize()
}

/// The folder's key, made on first use. One that others could have read is replaced, which makes all files invalid.
fn host_key(dir: &Path) -> io::Result<[u8; 32]> {
    let path = dir.join(KEY_FILE);
    if let Some(key) = read_key(&path)? {
        return Ok(key);
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    match write_new(&path, &[&key], true) {
        // Another process was quicker: its key is the folder's.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    read_key(&path)?.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the host key does not stay as written"))
}

fn read_key(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !is_private(&file.metadata()?) {
        return Ok(None);
    }
    let mut key = Vec::new();
    file.take(33).read_to_end(&mut key)?;
    Ok(key.try_into().ok())
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 == 0
}

#[cfg(not(unix))]
fn is_private(_: &fs::Metadata) -> bool {
    true
}

/// Writes a file that appears whole or not at all, readable by its owner only; with `keep`, one that is already there stays
/// and that is an error.
fn write_new(path: &Path, parts: &[&[u8]], keep: bool) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = (|| {
        let mut file = options.open(&temporary)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        if keep { fs::hard_link(&temporary, path) } else { fs::rename(&temporary, path) }
    })();
    if (keep || written.is_err())
        && let Err(error) = fs::remove_file(&temporary)
    {
        tracing::debug!(path = %temporary.display(), %error, "a temporary file stays");
    }
    written
}

#[cfg(test)]
mod tests;
