"""What phi4local promises about hostile input, tried on this machine in half a minute: `doctor --self-test`.

`damage` makes the input, `areas` tries it. All of it happens in memory and in a temporary folder: no model of
the person is read, and no network is used.
"""

from phi4local.doctor.self_test.areas import self_test

__all__ = ["self_test"]
