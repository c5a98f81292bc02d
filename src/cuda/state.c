/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/state.h"

const char *cuda_state_name(stasis_cu_process_state state)
{
    switch (state) {
    case STASIS_CU_PROCESS_STATE_RUNNING:
        return "running";
    case STASIS_CU_PROCESS_STATE_LOCKED:
        return "locked";
    case STASIS_CU_PROCESS_STATE_CHECKPOINTED:
        return "checkpointed";
    case STASIS_CU_PROCESS_STATE_FAILED:
        return "failed";
    case STASIS_CU_PROCESS_STATE_CHECKPOINTING:
        return "checkpointing";
    case STASIS_CU_PROCESS_STATE_RESTORING:
        return "restoring";
    default:
        return "unknown";
    }
}
