"""Board detection, on trees of /proc and /sys made for the test."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from fuzzing import times
from hypothesis import given, settings
from hypothesis import strategies as st
from mmg_device_profiles import Board, ProfileProblem, detect_board, load_profile, read_board
from mmg_device_profiles.profile import BOARDS

# What /proc/device-tree/compatible holds on each board, as Linux and the makers' kernels have it.
COMPATIBLE = {
    "raspberrypi,model-zero-2-w brcm,bcm2837": "raspberry-pi-zero-2w",
    "raspberrypi,3-model-b-plus brcm,bcm2837": "raspberry-pi-3b-plus",
    "raspberrypi,4-model-b brcm,bcm2711": "raspberry-pi-4",
    "raspberrypi,400 brcm,bcm2711": "raspberry-pi-4",
    "raspberrypi,5-model-b brcm,bcm2712": "raspberry-pi-5",
    "raspberrypi,5-compute-module brcm,bcm2712": "raspberry-pi-5",
    "nvidia,p3449-0000-b00+p3448-0000-b00 nvidia,jetson-nano nvidia,tegra210": "jetson-nano",
    "nvidia,p3542-0000+p3448-0003 nvidia,jetson-nano-2gb nvidia,jetson-nano nvidia,tegra210": "jetson-nano",
    "nvidia,p3450-0000 nvidia,tegra210": "jetson-nano",
    "nvidia,p3541-0000 nvidia,p3450-0000 nvidia,tegra210": "jetson-nano",
    "nvidia,p3768-0000+p3767-0005 nvidia,p3767-0005 nvidia,tegra234": "jetson-orin-nano",
    "nvidia,p3768-0000+p3767-0005-super nvidia,p3767-0005 nvidia,tegra234": "jetson-orin-nano",
    "nvidia,p3768-0000+p3767-0003 nvidia,p3767-0003 nvidia,tegra234": "jetson-orin-nano",
    # The same chips on boards that no profile is for.
    "raspberrypi,3-model-b brcm,bcm2837": "generic-aarch64",
    "nvidia,p3768-0000+p3767-0000 nvidia,p3767-0000 nvidia,tegra234": "generic-aarch64",
    "radxa,rock-5b rockchip,rk3588": "generic-aarch64",
}
CLAIMS = [
    (claim, path.stem) for path in sorted(BOARDS.glob("*.toml")) for claim in load_profile(path.stem).detect.compatible
]
A72 = "processor\t: {n}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
A72 += "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
PC = "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) N100\nflags\t\t: sse2 avx2 fpu\n\n"


def tree(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def cores(text: str, count: int) -> str:
    return "".join(text.format(n=number) for number in range(count))


def test_a_raspberry_pi_is_read_from_its_device_tree_and_its_parts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/device-tree/model": b"Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/device-tree/compatible": b"raspberrypi,4-model-b\0brcm,bcm2711\0",
            "proc/cpuinfo": cores(A72, 4) + "Revision\t: c03114\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
            "proc/meminfo": "MemTotal:        3884328 kB\nMemFree:  11 kB\n",
            "proc/self/status": "Name:\tpython\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n",
        },
    )
    assert read_board(root, "aarch64") == Board(
        model="Raspberry Pi 4 Model B Rev 1.4",
        compatible=("raspberrypi,4-model-b", "brcm,bcm2711"),
        machine="aarch64",
        cpu="Cortex-A72",
        features=("asimd", "cpuid", "crc32", "evtstrm", "fp"),
        cores=4,
        memory_mib=3793,
    )


def test_a_pc_is_read_from_dmi_and_its_model_name(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "sys/class/dmi/id/product_name": "NUC\n",
            "proc/cpuinfo": cores(PC, 2),
            "proc/meminfo": "MemTotal:       16384 kB\n",
        },
    )
    board = read_board(root, "x86_64")
    assert (board.model, board.compatible, board.cpu) == ("NUC", (), "Intel(R) N100")
    assert (board.features, board.cores, board.memory_mib) == (("avx2", "fpu", "sse2"), 2, 16)


def test_where_there_is_nothing_nothing_is_made_up(tmp_path: Path) -> None:
    assert read_board(tmp_path, "riscv64") == Board("", (), "riscv64", "", (), 1, 0)


def test_this_machine_is_read() -> None:
    board = read_board()
    assert board.cores >= 1
    assert board.memory_mib > 0
    assert detect_board() in {path.stem for path in BOARDS.glob("*.toml")}


def test_several_kinds_of_cores_are_all_named(tmp_path: Path) -> None:
    big = A72.replace("0xd08", "0xd0b")
    unknown = A72.replace("0x41", "0x63").replace("0xd08", "0x001")
    root = tree(tmp_path, {"proc/cpuinfo": cores(A72, 2) + cores(big, 2) + cores(unknown, 1)})
    assert read_board(root, "aarch64").cpu == "Cortex-A72 + Cortex-A76 + implementer 0x63 part 0x001"


def test_a_32_bit_kernel_says_less_than_the_part(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": "processor: 0\nmodel name: ARMv7 Processor rev 3 (v7l)\n" + A72})
    assert read_board(root, "armv7l").cpu == "Cortex-A72"


@pytest.mark.parametrize(
    ("allowed", "count"),
    [("0-3", 4), ("2", 1), ("0,2-3", 3), ("0-127", 128), ("", 2), ("none", 2), ("3-0", 2), ("9" * 5000, 2)],
)
def test_only_the_cores_that_this_process_may_use_count(tmp_path: Path, allowed: str, count: int) -> None:
    files = {"proc/cpuinfo": cores(A72, 2), "proc/self/status": f"Cpus_allowed_list:\t{allowed}\n"}
    assert read_board(tree(tmp_path, dict(files)), "aarch64").cores == count


@pytest.mark.parametrize(("machine", "name"), [("arm64", "aarch64"), ("AMD64", "x86_64"), ("armv7l", "armv7l")])
def test_a_machine_has_the_name_that_linux_gives_it(tmp_path: Path, machine: str, name: str) -> None:
    assert read_board(tmp_path, machine).machine == name


def test_the_device_tree_is_found_where_its_link_leads_out_of_the_root(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {"sys/firmware/devicetree/base/compatible": b"raspberrypi,5-model-b\0"})
    tree(tmp_path / "outside", {"compatible": b"raspberrypi,4-model-b\0"})
    (root / "proc").mkdir()
    (root / "proc" / "device-tree").symlink_to(tmp_path / "outside")
    assert read_board(root, "aarch64").compatible == ("raspberrypi,5-model-b",)


def test_nothing_outside_the_root_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {"proc/meminfo": ""})
    tree(tmp_path / "outside", {"product_name": "secret"})
    (root / "sys/class/dmi").mkdir(parents=True)
    (root / "sys/class/dmi/id").symlink_to("../../../../outside")
    assert read_board(root, "x86_64").model == ""


def test_a_link_to_itself_a_folder_and_a_forbidden_file_are_no_error(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/meminfo": "MemTotal: 4096 kB\n"})
    (root / "proc/cpuinfo").symlink_to("cpuinfo")
    (root / "proc/device-tree/compatible").mkdir(parents=True)
    (root / "proc/meminfo").chmod(0)
    board = read_board(root, "aarch64")
    assert (board.compatible, board.cpu, board.features, board.cores) == ((), "", (), 1)


FILES = st.sampled_from(
    ["proc/device-tree/model", "proc/device-tree/compatible", "proc/cpuinfo", "proc/meminfo", "proc/self/status"]
)
LINES = st.sampled_from(
    [b"CPU part: 0x", b"CPU implementer: 0x41", b"MemTotal: ", b"Cpus_allowed_list: 0-", b"flags: "]
)


@settings(max_examples=times(100), deadline=None)
@given(st.dictionaries(FILES, st.lists(LINES | st.binary(max_size=9), max_size=6).map(b"\n".join), max_size=5))
def test_garbled_files_are_no_error(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    root = tree(tmp_path_factory.mktemp("root"), dict(files))
    board = read_board(root, "aarch64")
    assert board.cores >= 1
    assert board.model.isprintable()
    assert detect_board(root, "aarch64") == "generic-aarch64"


@pytest.mark.parametrize(("compatible", "name"), COMPATIBLE.items())
def test_a_board_is_found_by_the_list_that_it_has(tmp_path: Path, compatible: str, name: str) -> None:
    root = tree(tmp_path, {"proc/device-tree/compatible": compatible.replace(" ", "\0") + "\0"})
    assert detect_board(root, "aarch64") == name


def test_each_board_was_looked_up() -> None:
    assert {path.stem for path in BOARDS.glob("*.toml")} - set(COMPATIBLE.values()) == {"generic-x86-64"}


@pytest.mark.parametrize(("claim", "name"), CLAIMS)
def test_each_string_that_a_profile_claims_finds_it(tmp_path: Path, claim: str, name: str) -> None:
    root = tree(tmp_path, {"proc/device-tree/compatible": f"some,carrier\0{claim}\0some,chip\0"})
    assert detect_board(root, "armv7l") == name


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("x86_64", "generic-x86-64"),
        ("aarch64", "generic-aarch64"),
        ("arm64", "generic-aarch64"),
        ("sparc64", "generic-x86-64"),
        ("", "generic-x86-64"),
    ],
)
def test_a_board_without_a_device_tree_is_found_by_its_machine(
    tmp_path: Path, machine: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detect_board(tmp_path, machine) == name
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert detect_board(tmp_path) == name


def test_two_profiles_for_one_board_are_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = f'name = "{name}"\ndescription = "a board"\ndetect.compatible = ["me,watch"]\n'
        (tmp_path / f"{name}.toml").write_text(text)
    root = tree(tmp_path / "root", {"proc/device-tree/compatible": b"me,watch\0"})
    with pytest.raises(ProfileProblem, match=r'detect: "me,watch" is in one\.toml already') as caught:
        detect_board(root, "aarch64", tmp_path)
    assert caught.value.path == str(tmp_path / "two.toml")


def test_a_string_in_a_longer_one_is_another_board(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/device-tree/compatible": b"raspberrypi,4\0nvidia,p3767-000\0"})
    assert detect_board(root, "aarch64") == "generic-aarch64"
