//! What a local VM takes: files and two command lines, decided without touching anything.

use super::accel::Accelerator;
use super::file::{self, PlannedFile};
use super::forward::Forward;
use super::name::InstanceName;
use super::seed;
use serde_json::json;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Order {
    /// The instance's name.
    pub name: InstanceName,
    /// Its id.
    pub instance_id: String,
    /// The absolute path of the image.
    pub image: String,
    /// The image's format, as QEMU calls it.
    pub image_format: String,
    /// The size of the VM's disk.
    pub disk_bytes: u64,
    /// The sizes of further disks, which are empty.
    pub volumes: Vec<u64>,
    /// Whether it has a TPM.
    pub tpm: bool,
    /// The VM's memory in MiB.
    pub memory: u32,
    /// The VM's processors.
    pub cpus: u16,
    /// Ports that lead into the VM.
    pub forwards: Vec<Forward>,
    /// What the VM configures itself from.
    pub user_data: Vec<u8>,
    /// Boots this kernel instead of the image's boot loader.
    pub kernel: Option<Kernel>,
}

/// A kernel that QEMU boots directly.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The kernel image.
    pub path: String,
    /// Its initramfs.
    pub initrd: Option<String>,
    /// Its command line.
    pub command_line: String,
}

/// What to create, and the command lines that do the rest.
#[derive(Debug)]
pub struct Plan {
    /// Files, all for the owner alone.
    pub files: Vec<PlannedFile>,
    /// Arguments of qemu-img, which makes a disk each time.
    pub qemu_img: Vec<Vec<String>>,
    /// Arguments of swtpm, which detaches itself and ends with QEMU; none without a TPM.
    pub swtpm: Option<Vec<String>>,
    /// Arguments of QEMU, which is started in the instance's folder and detaches itself.
    pub qemu: Vec<String>,
}

/// Plans a VM in `folder`, an absolute path.
pub fn plan(order: &Order, accelerator: Accelerator, folder: &str) -> Plan {
    Plan {
        files: seed::files(&order.name, &order.instance_id, &order.user_data),
        qemu_img: [vec![disk(order, folder)], volumes(order, folder)].concat(),
        swtpm: order.tpm.then(|| swtpm(folder)),
        qemu: [process(order, folder), machine(order, accelerator), devices(order, folder), tpm(order), kernel(order)]
            .concat(),
    }
}

fn disk(order: &Order, folder: &str) -> Vec<String> {
    let size = order.disk_bytes.to_string();
    // The backing format is named: QEMU never guesses a format from bytes that a guest may have written.
    let create = ["create", "-q", "-f", "qcow2", "-F", &order.image_format, "-b", &order.image];
    let mut arguments = words(&create);
    arguments.extend([format!("{folder}/{}", file::DISK), size]);
    arguments
}

fn volume(folder: &str, at: usize) -> String {
    format!("{folder}/volume-{}.qcow2", at + 1)
}

fn volumes(order: &Order, folder: &str) -> Vec<Vec<String>> {
    let create =
        |(at, size): (usize, &u64)| words(&["create", "-q", "-f", "qcow2", &volume(folder, at), &size.to_string()]);
    order.volumes.iter().enumerate().map(create).collect()
}

/// The pid file's absolute path is also what this very process is recognised by later.
fn process(order: &Order, folder: &str) -> Vec<String> {
    let pid = format!("{folder}/{}", file::PID);
    let qmp = format!("unix:{},server=on,wait=off", file::QMP);
    words(&["-name", order.name.as_str(), "-daemonize", "-pidfile", &pid, "-D", file::QEMU_LOG, "-qmp", &qmp])
}

fn machine(order: &Order, accelerator: Accelerator) -> Vec<String> {
    let (memory, cpus) = (order.memory.to_string(), order.cpus.to_string());
    let mut arguments =
        words(&["-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35", "-m", &memory, "-smp", &cpus]);
    arguments.extend(words(accelerator.qemu_arguments()));
    arguments
}

/// File names travel as JSON or relative to the folder, so no path needs QEMU's escapes.
fn devices(order: &Order, folder: &str) -> Vec<String> {
    let disk = json!({"driver": "qcow2", "node-name": "disk", "discard": "unmap",
        "file": {"driver": "file", "filename": format!("{folder}/{}", file::DISK), "discard": "unmap"}});
    let seed = json!({"driver": "vvfat", "node-name": "seed", "read-only": true,
        "dir": format!("{folder}/{}", seed::FOLDER), "label": seed::LABEL});
    let mut volumes = Vec::new();
    for at in 0..order.volumes.len() {
        let node = json!({"driver": "qcow2", "node-name": format!("volume{at}"), "discard": "unmap",
            "file": {"driver": "file", "filename": volume(folder, at), "discard": "unmap"}});
        let device = format!("virtio-blk-pci,drive=volume{at}");
        volumes.extend(words(&["-blockdev", &node.to_string(), "-device", &device]));
    }
    let console = format!("file,id=console,path={}", file::CONSOLE);
    let forwards: String =
        order.forwards.iter().map(|f| format!(",hostfwd=tcp:127.0.0.1:{}-:{}", f.host, f.guest)).collect();
    let network = format!("user,id=network{forwards}");
    let fixed = words(&[
        "-chardev",
        &console,
        "-serial",
        "chardev:console",
        "-blockdev",
        &disk.to_string(),
        "-device",
        "virtio-blk-pci,drive=disk,bootindex=1",
        "-blockdev",
        &seed.to_string(),
        "-device",
        "virtio-blk-pci,drive=seed",
        // No boot from the network, so no ROM for it either.
        "-netdev",
        &network,
        "-device",
        "virtio-net-pci,netdev=network,romfile=",
        "-object",
        "rng-random,id=random,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=random",
    ]);
    [fixed, volumes].concat()
}

fn swtpm(folder: &str) -> Vec<String> {
    let (state, control) = (format!("dir={folder}/{}", file::TPM), format!("type=unixio,path={}", file::TPM_SOCKET));
    words(&["socket", "--tpm2", "--tpmstate", &state, "--ctrl", &control, "--terminate", "--daemon"])
}

fn tpm(order: &Order) -> Vec<String> {
    if !order.tpm {
        return Vec::new();
    }
    let socket = format!("socket,id=tpm,path={}", file::TPM_SOCKET);
    words(&["-chardev", &socket, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"])
}

fn kernel(order: &Order) -> Vec<String> {
    let Some(kernel) = &order.kernel else { return Vec::new() };
    let mut arguments = words(&["-kernel", &kernel.path, "-append", &kernel.command_line]);
    if let Some(initrd) = &kernel.initrd {
        arguments.extend(words(&["-initrd", initrd]));
    }
    arguments
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Kernel, Order, Plan, plan};
    use crate::instances::accel::Accelerator;
    use crate::instances::forward::Forward;

    fn order() -> Order {
        Order {
            name: "basegun".parse().expect("a name"),
            instance_id: "i-0123456789abcdef".into(),
            image: "/images/debian, twelve.qcow2".into(),
            image_format: "qcow2".into(),
            disk_bytes: 4 << 30,
            volumes: vec![1 << 30],
            tpm: false,
            memory: 1024,
            cpus: 2,
            forwards: vec![Forward { host: 0, guest: 22 }, Forward { host: 9100, guest: 9100 }],
            user_data: b"#cloud-config\npassword: hunter2\n".to_vec(),
            kernel: None,
        }
    }

    /// The values of an option.
    fn values<'a>(plan: &'a Plan, option: &str) -> Vec<&'a str> {
        let followers = plan.qemu.windows(2).filter(|pair| pair[0] == option);
        followers.map(|pair| pair[1].as_str()).collect()
    }

    #[test]
    fn the_seed_holds_the_new_instance_id_the_host_name_and_the_user_data_unchanged() {
        let plan = plan(&order(), Accelerator::Tcg, "/state/basegun");
        assert_eq!(plan.files[0].path, "seed/meta-data");
        assert_eq!(plan.files[0].content, b"instance-id: i-0123456789abcdef\nlocal-hostname: basegun\n");
        assert_eq!(plan.files[1].content, order().user_data);
    }

    #[test]
    fn the_disk_is_an_overlay_that_leaves_the_image_untouched() {
        let expected =
            "create -q -f qcow2 -F qcow2 -b /images/debian, twelve.qcow2 /state/basegun/disk.qcow2 4294967296";
        let plan = plan(&order(), Accelerator::Tcg, "/state/basegun");
        assert_eq!(plan.qemu_img[0].join(" "), expected);
        assert_eq!(plan.qemu_img[1].join(" "), "create -q -f qcow2 /state/basegun/volume-1.qcow2 1073741824");
        assert!(values(&plan, "-blockdev")[2].contains("/state/basegun/volume-1.qcow2"));
    }

    #[test]
    fn ports_are_forwarded_from_loopback_alone() {
        let plan = plan(&order(), Accelerator::Tcg, "/state/basegun");
        let expected = "user,id=network,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:9100-:9100";
        assert_eq!(values(&plan, "-netdev"), [expected]);
    }

    #[test]
    fn a_state_folder_with_commas_and_colons_reaches_qemu_unharmed() {
        let plan = plan(&order(), Accelerator::Tcg, "/state,a:b/basegun");
        let disks = values(&plan, "-blockdev");
        assert!(disks[0].contains(r#""filename":"/state,a:b/basegun/disk.qcow2""#), "{disks:?}");
        assert!(disks[1].contains(r#""dir":"/state,a:b/basegun/seed""#), "{disks:?}");
        assert_eq!(values(&plan, "-pidfile"), ["/state,a:b/basegun/qemu.pid"]);
    }

    #[test]
    fn a_kernel_is_booted_directly_only_when_one_is_given() {
        assert!(values(&plan(&order(), Accelerator::Tcg, "/s"), "-kernel").is_empty());
        let kernel = Kernel { path: "/k".into(), initrd: Some("/i".into()), command_line: "console=ttyS0".into() };
        let plan = plan(&Order { kernel: Some(kernel), ..order() }, Accelerator::Tcg, "/s");
        assert_eq!(values(&plan, "-kernel"), ["/k"]);
        assert_eq!(values(&plan, "-initrd"), ["/i"]);
        assert_eq!(values(&plan, "-append"), ["console=ttyS0"]);
    }

    #[test]
    fn a_tpm_is_emulated_beside_the_vm_only_when_one_is_wanted() {
        let without = plan(&order(), Accelerator::Tcg, "/s");
        assert!(without.swtpm.is_none() && values(&without, "-tpmdev").is_empty());
        let with = plan(&Order { tpm: true, ..order() }, Accelerator::Tcg, "/s");
        assert!(with.swtpm.as_ref().is_some_and(|words| words.contains(&"dir=/s/tpm".to_owned())));
        assert_eq!(values(&with, "-tpmdev"), ["emulator,id=tpm0,chardev=tpm"]);
    }

    #[test]
    fn user_data_is_in_no_command_line_and_not_in_the_plan_s_debug_output() {
        let plan = plan(&order(), Accelerator::Tcg, "/s");
        assert!(!format!("{plan:?}").contains("hunter2"));
    }

    #[test]
    fn kvm_shows_the_guest_the_host_s_processor() {
        let plan = plan(&order(), Accelerator::Kvm, "/s");
        assert_eq!((values(&plan, "-accel"), values(&plan, "-cpu")), (vec!["kvm"], vec!["host"]));
    }
}
