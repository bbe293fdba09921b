/** How far the set-up wizard has come; kept so that a reload loses nothing. */
const key = 'branchline-setup';

export const lastStep = 5;

export function savedStep(): number {
  try {
    return Number.parseInt(localStorage.getItem(key) ?? '', 10) || 0;
  } catch {
    return 0;
  }
}
export function saveStep(step: number) {
  try {
    if (step) localStorage.setItem(key, String(step));
    else localStorage.removeItem(key);
  } catch {
    // The address still holds the step.
  }
}
export const unfinished = () => savedStep() > 1;
