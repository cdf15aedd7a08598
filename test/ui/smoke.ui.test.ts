import { useCulvert } from '../harness/openCulvert.ts';

describe('Culvert in the workbench', () => {
  const culvert = useCulvert();

  it('has a container in the activity bar that opens', async () => {
    const { window } = culvert();
    await window.activityBarItem('Culvert').waitFor();
    await window.openView('Culvert');
    await culvert().screenshots('smoke');
  });
});
