//! What a container sees of the host's storage, in the engine's own words.

use crate::containers::compose::{Mount, Project, Service, Source};
use bollard::models::{
    Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum as Propagation, MountImageOptions,
    MountTmpfsOptions, MountType, MountVolumeOptions,
};

/// The old form `source:target:options`, which alone makes missing folders, and the new one for all else.
pub fn of(project: &Project, service: &Service) -> (Vec<String>, Vec<EngineMount>) {
    let (old, new): (Vec<_>, Vec<_>) = service.mounts.iter().partition(|mount| is_old(&mount.source));
    let files = service.files.iter().map(|file| EngineMount {
        target: Some(file.target.clone()),
        source: Some(file.path(&project.files).display().to_string()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        ..EngineMount::default()
    });
    let old = old.into_iter().map(|mount| bind(project, mount)).collect();
    (old, new.into_iter().map(|mount| mounted(project, mount)).chain(files).collect())
}

fn is_old(source: &Source) -> bool {
    matches!(source, Source::Bind { create: true, .. } | Source::Volume { subpath: None, .. })
}

fn volume_name<'p>(project: &'p Project, key: &'p str) -> &'p str {
    project.volumes.get(key).map_or(key, |volume| &volume.name)
}

fn bind(project: &Project, mount: &Mount) -> String {
    let mode = if mount.read_only { "ro" } else { "rw" };
    let (source, further) = match &mount.source {
        Source::Volume { key, nocopy, selinux, .. } => {
            let further = nocopy.then_some("nocopy").into_iter().chain(selinux.as_deref());
            (volume_name(project, key), further.collect::<Vec<_>>())
        }
        Source::Bind { path, options, .. } => (path.as_str(), options.iter().map(String::as_str).collect()),
        Source::Anonymous | Source::Tmpfs { .. } | Source::Image { .. } => ("", Vec::new()),
    };
    let options: Vec<&str> = std::iter::once(mode).chain(further).collect();
    format!("{source}:{}:{}", mount.target, options.join(","))
}

fn mounted(project: &Project, mount: &Mount) -> EngineMount {
    let mut body =
        EngineMount { target: Some(mount.target.clone()), read_only: Some(mount.read_only), ..EngineMount::default() };
    match &mount.source {
        Source::Tmpfs { size, mode } => {
            body.typ = Some(MountType::TMPFS);
            body.tmpfs_options = Some(MountTmpfsOptions { size_bytes: *size, mode: *mode, options: None });
        }
        Source::Bind { path, options, .. } => {
            body.typ = Some(MountType::BIND);
            body.source = Some(path.clone());
            let propagation = options.iter().find_map(|option| propagation(option));
            body.bind_options =
                propagation.map(|mode| MountBindOptions { propagation: Some(mode), ..MountBindOptions::default() });
        }
        Source::Volume { key, nocopy, subpath, .. } => {
            body.typ = Some(MountType::VOLUME);
            body.source = Some(volume_name(project, key).to_owned());
            body.volume_options = Some(MountVolumeOptions {
                no_copy: Some(*nocopy),
                subpath: subpath.clone(),
                ..MountVolumeOptions::default()
            });
        }
        Source::Anonymous => body.typ = Some(MountType::VOLUME),
        Source::Image { name, subpath } => {
            body.typ = Some(MountType::IMAGE);
            body.source = Some(name.clone());
            body.image_options = Some(MountImageOptions { subpath: subpath.clone() });
        }
    }
    body
}

fn propagation(option: &str) -> Option<Propagation> {
    Some(match option {
        "private" => Propagation::PRIVATE,
        "rprivate" => Propagation::RPRIVATE,
        "shared" => Propagation::SHARED,
        "rshared" => Propagation::RSHARED,
        "slave" => Propagation::SLAVE,
        "rslave" => Propagation::RSLAVE,
        _ => return None,
    })
}
