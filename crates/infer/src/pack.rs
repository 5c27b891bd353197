//! Opening a pack: read every file once, hash it, check it, and keep the bytes that were checked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overread_domain::EditionId;
use sha2::{Digest, Sha256};

use crate::error::InferError;
use crate::head::Head;
use crate::manifest::{Manifest, Metadata, Model};
use crate::onnx;
use crate::trust::{SIGNATURE_FILE, Signature, Standing, TrustList};

/// Most bytes that one pack may have in all.
const PACK_BYTES: u64 = 2 << 30;
/// Most files that one pack may have.
const PACK_FILES: usize = 256;

/// A model as files, read and checked; what is run is what was hashed.
pub struct Pack {
    /// Where it was read from.
    pub root: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The makers' version.
    pub version: String,
    /// The hash of its content.
    pub edition: EditionId,
    /// Whether somebody we trust stands behind it.
    pub standing: Standing,
    head: Option<Head>,
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Pack {
    /// Reads and checks the pack in a folder.
    ///
    /// # Errors
    /// A file, key, tensor or signature that is missing or wrong, by name.
    pub fn open(root: &Path, trust: &TrustList) -> Result<Self, InferError> {
        let files = read_files(root)?;
        let edition = edition_of(&files);
        let metadata = parse_metadata(root, &files)?;
        let standing = match files.get(SIGNATURE_FILE) {
            Some(bytes) => trust.judge(&edition, Some(&Signature::parse(bytes)?))?,
            None => trust.judge(&edition, None)?,
        };
        let manifest = metadata.overread;
        let mut pack = Self {
            root: root.to_owned(),
            manifest,
            version: metadata.version,
            edition,
            standing,
            head: None,
            files,
        };
        pack.check_graphs()?;
        if let Model::Decomposable { head, .. } = &pack.manifest.model {
            pack.head = Some(Head::parse(head, &pack.file(head)?, &pack.manifest)?);
        }
        Ok(pack)
    }

    /// The content of one of its files.
    ///
    /// # Errors
    /// The pack has no such file.
    pub fn file(&self, name: &str) -> Result<Arc<[u8]>, InferError> {
        self.files.get(name).cloned().ok_or_else(|| InferError::Refused {
            path: self.root.join(name),
            why: "the pack has no such file, though its manifest or a graph names it".into(),
        })
    }

    /// Its files, relative to the root, with their sizes.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.len()))
    }

    /// The linear head, where the pack has one.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The graph that is run.
    pub fn graph(&self) -> &str {
        match &self.manifest.model {
            Model::Decomposable { backbone, .. } => backbone,
            Model::Opaque { graph, .. } => graph,
        }
    }

    /// Files with a graph's external tensors, as the graph names them and as the pack does.
    ///
    /// # Errors
    /// A graph that cannot be read, or that names files outside the pack or operators from elsewhere.
    pub fn external_data(&self, graph: &str) -> Result<Vec<(String, String)>, InferError> {
        let refused = |why: String| InferError::Refused { path: self.root.join(graph), why };
        let folder = graph.rsplit_once('/').map_or("", |(folder, _)| folder);
        let locations = onnx::inspect(&self.file(graph)?).map_err(&refused)?;
        locations
            .into_iter()
            .map(|location| {
                let name = onnx::inside(folder, &location).map_err(&refused)?;
                self.file(&name)?;
                Ok((location, name))
            })
            .collect()
    }

    fn check_graphs(&self) -> Result<(), InferError> {
        self.external_data(self.graph())?;
        if let Model::Decomposable { fused: Some(fused), .. } = &self.manifest.model {
            self.external_data(fused)?;
        }
        Ok(())
    }
}

/// The edition of a folder, without asking whether it is a good pack: for signing and for messages.
///
/// # Errors
/// A file that cannot be read.
pub fn edition_of_folder(root: &Path) -> Result<EditionId, InferError> {
    Ok(edition_of(&read_files(root)?))
}

/// SHA-256 over the lines `<sha256 of the file>  <path>`, sorted by path, without the signature.
fn edition_of(files: &BTreeMap<String, Arc<[u8]>>) -> EditionId {
    let mut listing = String::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.as_str() != SIGNATURE_FILE) {
        let _ = writeln!(listing, "{}  {name}", hex(&Sha256::digest(bytes)));
    }
    EditionId(hex(&Sha256::digest(listing)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse_metadata(root: &Path, files: &BTreeMap<String, Arc<[u8]>>) -> Result<Metadata, InferError> {
    const NAME: &str = "configs/metadata.json";
    let path = root.join(NAME);
    let bytes = files.get(NAME).ok_or_else(|| InferError::Refused {
        path: path.clone(),
        why: "missing; a pack is a folder with configs/metadata.json".into(),
    })?;
    Metadata::parse(bytes).map_err(|why| InferError::Manifest { path, why })
}

fn read_files(root: &Path) -> Result<BTreeMap<String, Arc<[u8]>>, InferError> {
    let mut files = BTreeMap::new();
    let mut left = PACK_BYTES;
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let read_error = |source| InferError::Read { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let path = entry.path();
            let refused = |why: &str| InferError::Refused { path: path.clone(), why: why.into() };
            let kind = entry.file_type().map_err(read_error)?;
            let name = entry.file_name().into_string().map_err(|_| refused("its name is not UTF-8"))?;
            if name.starts_with('.') {
                continue;
            }
            let name = format!("{prefix}{name}");
            if kind.is_dir() {
                folders.push((path, format!("{name}/")));
                continue;
            }
            if !kind.is_file() {
                return Err(refused("a pack holds plain files; links and devices are refused"));
            }
            let size = entry.metadata().map_err(read_error)?.len();
            left = left.checked_sub(size).ok_or_else(|| refused("the pack has more than 2 GiB"))?;
            if files.len() == PACK_FILES {
                return Err(refused("the pack has more than 256 files"));
            }
            let bytes = std::fs::read(&path).map_err(|source| InferError::Read { path, source })?;
            files.insert(name, bytes.into());
        }
    }
    Ok(files)
}
