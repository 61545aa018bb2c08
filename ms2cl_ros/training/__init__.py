# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MS2-CL in torch: model, losses, data, training, export. Nothing at run time imports this."""
