// Anywidget stops listening for a widget whose module takes more than two seconds to start. Plotly's five megabytes can
// take longer on a busy machine: they come as text, and one copy of them serves all widgets of the page.
const started = (globalThis.siteLensBundles ??= {});

function start(model) {
  const name = model.get("bundle_name");
  const file = () => URL.createObjectURL(new Blob([model.get("bundle")], { type: "text/javascript" }));
  return (started[name] ??= import(file()));
}

async function begin(model) {
  const { default: made } = await start(model);
  const widget = typeof made === "function" ? await made() : made;
  await widget.initialize?.({ model });
  return widget;
}

export default () => {
  let widget;
  return {
    initialize({ model }) {
      widget = begin(model); // not waited for
    },
    async render({ model, el }) {
      return (await widget).render({ model, el });
    },
  };
};
