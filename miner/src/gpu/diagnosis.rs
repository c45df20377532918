//! Why a machine has no card that can be used, and what would help.
//! Invariant: looks at files and at what the drivers offered, and starts nothing.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Why no GPU can be used, from the outermost cause inwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// libvulkan.so.1, through which programs find drivers, is not installed.
    NoLoader,
    /// The loader finds no driver's manifest.
    NoManifest {
        /// Where it looks.
        searched: Vec<PathBuf>,
    },
    /// There are manifests, but none of their drivers offers an adapter.
    DriverFails {
        /// The manifests.
        manifests: Vec<PathBuf>,
    },
    /// All adapters are programs on the CPU.
    SoftwareOnly {
        /// Their names.
        names: Vec<String>,
    },
}

impl std::error::Error for Unusable {}

impl Unusable {
    /// A word for programs to tell the cases apart.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoLoader => "no-loader",
            Self::NoManifest { .. } => "no-manifest",
            Self::DriverFails { .. } => "driver-fails",
            Self::SoftwareOnly { .. } => "software-only",
        }
    }

    /// What to do about it, with the package to install on Debian, Ubuntu or Amazon Linux.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoLoader => {
                "install the Vulkan loader: libvulkan1 on Debian and Ubuntu, vulkan-loader on Amazon Linux and Fedora"
            }
            Self::NoManifest { .. } => {
                "install the card's driver: the NVIDIA driver with its GL libraries (libnvidia-gl-* on Ubuntu, also \
                 part of NVIDIA's own installer), mesa-vulkan-drivers for AMD and Intel; in a container, \
                 NVIDIA_DRIVER_CAPABILITIES must include graphics; a manifest elsewhere is named by VK_DRIVER_FILES"
            }
            Self::DriverFails { .. } => {
                "see whether the kernel's part of the driver is loaded (nvidia-smi, or /dev/dri) and accessible to \
                 this user, and whether libxext6 and libx11-6 are installed, which NVIDIA's driver needs without a \
                 screen, too; VK_LOADER_DEBUG=error,driver makes the loader tell more"
            }
            Self::SoftwareOnly { .. } => {
                "this machine has no card, or not its driver; `--device NAME` takes software all the same, but the \
                 CPU backend is faster"
            }
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLoader => f.write_str("there is no Vulkan loader (libvulkan.so.1)")?,
            Self::NoManifest { searched } => {
                write!(f, "no Vulkan driver is installed (no manifest in {})", list(searched))?;
            }
            Self::DriverFails { manifests } => {
                write!(f, "no installed Vulkan driver offers an adapter ({})", list(manifests))?;
            }
            Self::SoftwareOnly { names } => {
                write!(f, "Vulkan offers only software ({})", names.join(", "))?;
            }
        }
        write!(f, "; {}", self.remedy())
    }
}

/// Whether the operating system has a device that could be a card: a render node, NVIDIA's own, or that of Windows'
/// subsystem. On systems other than Linux that is not known beforehand.
pub fn may_have_card() -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_card = |name: &str| {
        name == "dxg"
            || ["renderD", "nvidia"].iter().any(|kind| name.strip_prefix(kind).is_some_and(is_number))
    };
    let has_card = |folder: &str| {
        let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_str().is_some_and(is_card))
    };
    !cfg!(target_os = "linux") || has_card("/dev/dri") || has_card("/dev")
}

/// The diagnosis for this machine, given the names of its adapters, which are all software.
pub(super) fn here(software: &[String]) -> Unusable {
    let variable = |name: &str| env::var(name).ok();
    diagnose(has_loader(variable), &manifest_places(variable), software)
}

fn diagnose(has_loader: bool, places: &[PathBuf], software: &[String]) -> Unusable {
    if !software.is_empty() {
        return Unusable::SoftwareOnly { names: software.to_vec() };
    }
    if !has_loader {
        return Unusable::NoLoader;
    }
    let manifests: Vec<PathBuf> = places.iter().flat_map(|place| manifests(place)).collect();
    if manifests.is_empty() {
        return Unusable::NoManifest { searched: places.to_vec() };
    }
    Unusable::DriverFails { manifests }
}

/// The manifests at a place, which is a folder of them or one.
fn manifests(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let Ok(entries) = fs::read_dir(place) else { return Vec::new() };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut manifests: Vec<_> = files.filter(|path| path.extension() == Some("json".as_ref())).collect();
    manifests.sort();
    manifests
}

/// Where the loader looks for manifests.
fn manifest_places(variable: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let paths = |text: &str| -> Vec<PathBuf> { env::split_paths(text).collect() };
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        if let Some(files) = variable(name).filter(|files| !files.is_empty()) {
            return paths(&files);
        }
    }
    let mut places = variable("VK_ADD_DRIVER_FILES").map_or(Vec::new(), |files| paths(&files));
    let home = variable("HOME").unwrap_or_default();
    for (name, default) in [
        ("XDG_CONFIG_HOME", format!("{home}/.config")),
        ("XDG_CONFIG_DIRS", "/etc/xdg".to_owned()),
        ("", "/etc".to_owned()),
        ("XDG_DATA_HOME", format!("{home}/.local/share")),
        ("XDG_DATA_DIRS", "/usr/local/share:/usr/share".to_owned()),
    ] {
        let folders = variable(name).filter(|folders| !folders.is_empty()).unwrap_or(default);
        places.extend(paths(&folders).into_iter().map(|folder| folder.join("vulkan/icd.d")));
    }
    places
}

fn has_loader(variable: impl Fn(&str) -> Option<String>) -> bool {
    let multiarch = format!("{}-linux-gnu", env::consts::ARCH);
    let mut folders: Vec<PathBuf> =
        variable("LD_LIBRARY_PATH").map_or(Vec::new(), |path| env::split_paths(&path).collect());
    for root in ["/lib", "/usr/lib", "/usr/local/lib"] {
        folders.extend([root.into(), Path::new(root).join(&multiarch), format!("{root}64").into()]);
    }
    // The loader may be anywhere on systems that are not Linux; there, drivers are blamed.
    !cfg!(target_os = "linux") || folders.iter().any(|folder| folder.join("libvulkan.so.1").exists())
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test alone, deleted at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = env::temp_dir().join(format!("quarry-diagnosis-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn causes_are_told_apart() {
        let (empty, full) = (Folder::new("empty"), Folder::new("full"));
        let manifest = full.0.join("card_icd.json");
        fs::write(&manifest, "{}").unwrap();
        fs::write(full.0.join("README"), "").unwrap();
        let places = [empty.0.clone(), full.0.clone()];
        let software = ["llvmpipe".to_owned()];
        for (expected, has_loader, places, software) in [
            (Unusable::NoLoader, false, &places[..], &[][..]),
            (Unusable::NoManifest { searched: places[..1].to_vec() }, true, &places[..1], &[]),
            (Unusable::DriverFails { manifests: vec![manifest.clone()] }, true, &places, &[]),
            (
                Unusable::DriverFails { manifests: vec![manifest.clone()] },
                true,
                std::slice::from_ref(&manifest),
                &[],
            ),
            (Unusable::SoftwareOnly { names: software.to_vec() }, true, &places, &software),
        ] {
            assert_eq!(diagnose(has_loader, places, software), expected);
            assert!(expected.to_string().contains(expected.remedy()));
        }
    }

    #[test]
    fn variables_say_where_to_look() {
        let none = |_: &str| None;
        let places = manifest_places(none);
        for folder in ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"] {
            assert!(places.contains(&PathBuf::from(folder)), "{folder}");
        }
        let files = |name: &str| (name == "VK_DRIVER_FILES").then(|| "/a/b.json:/c".to_owned());
        assert_eq!(manifest_places(files), [PathBuf::from("/a/b.json"), PathBuf::from("/c")]);
        let data = |name: &str| (name == "XDG_DATA_DIRS").then(|| "/data".to_owned());
        assert!(manifest_places(data).contains(&PathBuf::from("/data/vulkan/icd.d")));
        let libraries = |name: &str| (name == "LD_LIBRARY_PATH").then(|| "/nowhere".to_owned());
        assert_eq!(has_loader(libraries), has_loader(none));
    }
}
