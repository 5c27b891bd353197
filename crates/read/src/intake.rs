//! Studies among files: DICOM files by their Study Instance UID, each photograph its own study.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use overread_dicom::read::{self, Header, Limits, Opened};
use overread_domain::Uid;
use sha2::{Digest, Sha256};

/// One image file of a study, and what its header says.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says of itself; holds no identity.
    pub header: Header,
    /// Not a DICOM file.
    pub photograph: bool,
}

/// A study as it was found, or a file that is none.
#[derive(Clone, Debug)]
pub struct Study {
    /// Its UID; of a photograph, a function of its content.
    pub uid: Option<Uid>,
    /// Its images, in input order.
    pub images: Vec<ImageFile>,
    /// Why there is nothing to read, with the file's path.
    pub unreadable: Option<(PathBuf, String)>,
}

impl Study {
    /// The path that names it: that of its first file.
    pub fn source(&self) -> &Path {
        match (&self.unreadable, self.images.first()) {
            (Some((path, _)), _) => path,
            (None, Some(image)) => &image.path,
            (None, None) => Path::new(""),
        }
    }
}

/// Finds the studies in files and folders. Files in a folder are taken in the order of their names; hidden ones,
/// DICOMDIR and files that are clearly no images (by their name) are left out, named ones never are.
/// A file that cannot be opened becomes a study of its own that tells why.
pub fn find_studies(paths: &[PathBuf], limits: &Limits) -> Vec<Study> {
    let mut studies: Vec<Study> = Vec::new();
    let mut by_uid: HashMap<Uid, usize> = HashMap::new();
    for path in files(paths) {
        let path = match path {
            Ok(path) => path,
            Err(unreadable) => {
                studies.push(Study { uid: None, images: vec![], unreadable: Some(unreadable) });
                continue;
            }
        };
        match open(&path, limits) {
            Err(why) => {
                studies.push(Study { uid: None, images: vec![], unreadable: Some((path, why)) });
            }
            Ok((uid, image)) => match uid.as_ref().and_then(|uid| by_uid.get(uid)) {
                Some(known) => studies[*known].images.push(image),
                None => {
                    if let Some(uid) = &uid {
                        by_uid.insert(uid.clone(), studies.len());
                    }
                    studies.push(Study { uid, images: vec![image], unreadable: None });
                }
            },
        }
    }
    studies
}

fn open(path: &Path, limits: &Limits) -> Result<(Option<Uid>, ImageFile), String> {
    let opened = read::open(path, limits).map_err(|e| sentence(&e))?;
    let header = opened.header().clone();
    let photograph = matches!(opened, Opened::Photograph(_));
    let uid = if photograph { Some(photograph_uid(path)?) } else { header.study_instance_uid.clone() };
    Ok((uid, ImageFile { path: path.to_owned(), header, photograph }))
}

/// A photograph has no Study Instance UID of its own: it gets one from its content and its name, so that the same
/// file is the same study and two copies in a folder stay two.
fn photograph_uid(path: &Path) -> Result<Uid, String> {
    let mut hash = Sha256::new();
    hash.update(std::fs::read(path).map_err(|e| e.to_string())?);
    hash.update(path.as_os_str().as_encoded_bytes());
    Ok(uid_of(hash))
}

/// The UID of a study whose file has none that is valid.
pub(crate) fn uid_of_path(path: &Path) -> Uid {
    uid_of(Sha256::new_with_prefix(path.as_os_str().as_encoded_bytes()))
}

fn uid_of(hash: Sha256) -> Uid {
    let digest = hash.finalize();
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest[..16]);
    Uid::from_hash(bits)
}

/// An error with its causes, as one sentence.
pub fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

type Found = Result<PathBuf, (PathBuf, String)>;

fn files(paths: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() { walk(path, &mut found) } else { found.push(Ok(path.clone())) }
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<Found>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => {
            found.push(Err((folder.to_owned(), format!("the folder cannot be read: {e}"))));
            return;
        }
    };
    let mut entries: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else if !path.is_dir() && !is_beside_the_point(&path) {
            found.push(Ok(path));
        }
    }
}

fn is_beside_the_point(path: &Path) -> bool {
    const NOT_IMAGES: [&str; 12] =
        ["csv", "json", "jsonl", "txt", "md", "html", "xml", "pdf", "zip", "gz", "py", "toml"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.starts_with('.') || name == "DICOMDIR" || NOT_IMAGES.contains(&extension.as_str())
}
